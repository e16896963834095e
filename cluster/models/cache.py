"""Directories that are made once, whole or not at all, however many processes ask for them.

A directory is made beside its place, under a lock, and then renamed. Leftovers of a killed process
are removed by the next one. Knows no models.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console


def made_once(
    target: Path,
    is_current: Callable[[Path], bool],
    make: Callable[[Path], None],
    progress: Console,
) -> None:
    """Make `target` unless `is_current` accepts it; replace an outdated one.

    `make` fills an empty directory. If it raises, the error is passed on and `target` stays.
    """
    if is_current(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.parent / f".{target.name}.lock")
    _acquire(lock, target.name, progress)
    try:
        # Another process may have made it meanwhile.
        if not is_current(target):
            _make(target, make)
    finally:
        lock.release()


def _acquire(lock: FileLock, name: str, progress: Console) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with progress.status(f"{name}: another process is making it"):
            lock.acquire()


def _make(target: Path, make: Callable[[Path], None]) -> None:
    making = target.parent / f".{target.name}.making"
    outdated = target.parent / f".{target.name}.outdated"
    # Only the holder of the lock uses these names: a killed process left them.
    for leftover in (making, outdated):
        shutil.rmtree(leftover, ignore_errors=True)
    making.mkdir()
    try:
        make(making)
        # A rename cannot replace a directory that has files.
        if target.exists():
            os.rename(target, outdated)
        os.rename(making, target)
    finally:
        for leftover in (making, outdated):
            shutil.rmtree(leftover, ignore_errors=True)
