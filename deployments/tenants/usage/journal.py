"""What was served, on this machine's disk until the control store has it.

A line is written before its answer leaves: two microseconds into the kernel, where it outlives this
process (not the machine's crash, which loses what was served since the last flush, about a second).
Each file belongs to the process that holds its lock; one whose lock is free was left by a process
that is dead, and whoever finds it brings it home.

Knows no database: `batches` gives what is to be stored, by a name under which it is stored once.
"""

import fcntl
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import orjson

from deployments.tenants.usage.records import UsageRecord

logger = logging.getLogger(__name__)


class _File:
    """An open journal, locked by this process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def lock(cls, path: Path, flags: int) -> "_File | None":
        """None if another has it, or had it and has removed it."""
        try:
            descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return cls(path, descriptor)
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(descriptor)
        return None

    def append(self, line: bytes) -> None:
        os.write(self._descriptor, line)

    def read(self) -> bytes:
        return self.path.read_bytes()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


class UsageJournal:
    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._current: _File | None = None
        self._closed: dict[str, _File] = {}

    def append(self, hour: int, tenant: str, stage: str, model: str, counts: list[int]) -> None:
        """`counts` are tokens and, of them, cached tokens. Raises OSError."""
        if self._current is None:
            self._current = self._open()
        self._current.append(orjson.dumps([hour, tenant, stage, model, *counts]) + b"\n")

    def batches(self) -> Iterator[tuple[str, list[UsageRecord]]]:
        """Everything written until now, by this process and by those that died: a name and its
        sums. To be given to `settle` once stored; what is not comes again."""
        if self._current is not None:
            self._closed[self._current.path.name] = self._current
            self._current = None
        for path in self._directory.iterdir():
            if path.name not in self._closed:
                orphan = _File.lock(path, os.O_RDWR)
                if orphan is not None:
                    self._closed[path.name] = orphan
        for name, file in list(self._closed.items()):
            yield name, _sums(file.read())

    def settle(self, name: str) -> None:
        self._closed.pop(name).remove()

    def _open(self) -> _File:
        while True:
            path = self._directory / uuid.uuid4().hex
            file = _File.lock(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND)
            # Another process may have taken it for one left behind, before it was locked.
            if file is not None:
                return file


def _sums(lines: bytes) -> list[UsageRecord]:
    sums: dict[tuple[int, str, str, str], list[int]] = {}
    for line in lines.split(b"\n"):
        if not line:
            continue
        try:
            hour, tenant, stage, model, tokens, cached_tokens = orjson.loads(line)
        except ValueError:
            logger.exception("a line of the usage journal is torn")
            continue
        total = sums.setdefault((hour, tenant, stage, model), [0, 0, 0])
        total[0] += 1
        total[1] += tokens
        total[2] += cached_tokens
    return [UsageRecord(*key, *total) for key, total in sums.items()]
