"""The usage journal: usage on this machine's disk until the control store has it.

A line is written to the kernel (2 us) before its response is sent, so it outlives this process. A
crash of the machine loses the lines since the last flush, about a second's. Each file belongs to
the process that holds its lock. A file with a free lock was left by a dead process, and the
process that finds it adopts it.

While the control store is away one file takes all lines. Whenever it has doubled it is replaced by
its totals, so it grows with tenants and hours and not with requests.

Knows no database: `batches` yields usage with a name by which it is to be stored once.
"""

import errno
import fcntl
import logging
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from deployments.tenants.usage.records import UsageRecord

logger = logging.getLogger(__name__)

# Totals that are to take the place of a journal; the journal counts until they have.
_UNFINISHED = ".totals"
# Less is not worth summing up.
_LEAST_BYTES = 2**20


class _File:
    """An open journal, locked by this process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._bytes = 0
        self._sum_up_at_bytes = _LEAST_BYTES

    @classmethod
    def lock(cls, path: Path, flags: int) -> "_File | None":
        """Open and lock a file; None if another process holds it or has removed it."""
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

    @property
    def is_long(self) -> bool:
        """Return whether it has doubled since it was made or last asked for shorter."""
        return self._bytes >= self._sum_up_at_bytes

    def append(self, line: bytes) -> None:
        """Write the whole line or none of it; raises OSError."""
        if os.write(self._descriptor, line) < len(line):
            # The disk is full. The next line would be glued to a torn one, and be lost with it.
            # Nobody else's line is cut off: only the process with the lock writes here.
            os.ftruncate(self._descriptor, self._bytes)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._bytes += len(line)

    def shorter(self) -> "_File":
        """Replace the file on the disk by its totals, and return that; raises OSError.

        A crash leaves the one or the other. This file must not be used any more, unless it raises.
        """
        self._sum_up_at_bytes = self._bytes + _LEAST_BYTES
        path = self.path.with_suffix(_UNFINISHED)
        totals = _File.lock(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        if totals is None:
            raise FileNotFoundError(path)  # another process took it for an orphan
        try:
            for one in self.totals():
                totals.append(_line(one))
            os.fsync(totals._descriptor)
            totals.path = path.replace(self.path)
        except OSError:
            totals.remove()
            raise
        os.close(self._descriptor)
        totals._sum_up_at_bytes = max(2 * totals._bytes, _LEAST_BYTES)
        return totals

    def totals(self) -> list[UsageRecord]:
        with self.path.open("rb") as lines:
            return _totals(lines)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


class UsageJournal:
    """The journals in `directory`: the one this process appends to, and those not yet stored."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._current: _File | None = None
        self._closed: dict[str, _File] = {}

    def append(self, hour: int, tenant: str, stage: str, model: str, counts: list[int]) -> None:
        """Add a line; `counts` are tokens and how many of them were cached. Raises OSError."""
        if self._current is None:
            self._current = self._open()
        self._current.append(orjson.dumps([hour, tenant, stage, model, *counts]) + b"\n")
        if self._current.is_long:
            try:
                self._current = self._current.shorter()
            except OSError:  # the line is written all the same
                logger.exception("the usage journal could not be summed up: it grows on")

    def batches(self) -> Iterator[tuple[str, list[UsageRecord]]]:
        """Yield the name and totals of each journal, of this process and of dead ones.

        Call `settle` for each once it is stored; it is yielded again until then. The current
        journal comes last and is closed only then: while nothing can be stored, lines go into one
        file, not into one more open file a flush.
        """
        for path in self._directory.iterdir():
            if path.name not in self._closed:
                orphan = _File.lock(path, os.O_RDWR)
                if orphan is not None and path.suffix == _UNFINISHED:
                    orphan.remove()
                elif orphan is not None:
                    self._closed[path.name] = orphan
        for name, file in list(self._closed.items()):
            yield name, file.totals()
        if self._current is not None:
            name, file = self._current.path.name, self._current
            self._closed[name], self._current = file, None
            yield name, file.totals()

    def settle(self, name: str) -> None:
        """Delete a journal that is stored."""
        self._closed.pop(name).remove()

    def _open(self) -> _File:
        while True:
            path = self._directory / uuid.uuid4().hex
            file = _File.lock(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND)
            # Before it was locked, another process may have adopted it as an orphan.
            if file is not None:
                return file


def _line(total: UsageRecord) -> bytes:
    """A line of more than one request, whose number comes last."""
    key = [total.hour, total.tenant, total.stage, total.model]
    return orjson.dumps([*key, total.tokens, total.cached_tokens, total.requests]) + b"\n"


def _totals(lines: Iterable[bytes]) -> list[UsageRecord]:
    totals: dict[tuple[int, str, str, str], list[int]] = {}
    for line in lines:
        try:
            hour, tenant, stage, model, tokens, cached_tokens, *requests = orjson.loads(line)
        except ValueError:
            logger.exception("a line of the usage journal is torn")
            continue
        total = totals.setdefault((hour, tenant, stage, model), [0, 0, 0])
        total[0] += sum(requests) if requests else 1
        total[1] += tokens
        total[2] += cached_tokens
    return [UsageRecord(*key, *total) for key, total in totals.items()]
