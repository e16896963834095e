"""Directories made once, whole or not at all, by however many processes ask for them.

A directory is made beside its place and renamed into it, under a lock; what a killed process left
is removed by the next. Knows nothing of models.
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
    """Have `make` fill `target`, unless `is_current` already; an outdated one is replaced.

    `make` gets an empty directory. What it raises is passed on, and `target` stays as it was.
    """
    if is_current(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.parent / f".{target.name}.lock")
    _acquire(lock, target.name, progress)
    try:
        # Another process may have made it while this one waited.
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
    # Whoever holds the lock owns these names: what lies there was left by a killed process.
    for leftover in (making, outdated):
        shutil.rmtree(leftover, ignore_errors=True)
    making.mkdir()
    try:
        make(making)
        # A rename replaces no directory that has files in it.
        if target.exists():
            os.rename(target, outdated)
        os.rename(making, target)
    finally:
        for leftover in (making, outdated):
            shutil.rmtree(leftover, ignore_errors=True)
