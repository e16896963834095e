"""Scheduling of table maintenance, which runs in child processes, one at a time.

A table is due by the fragments that were added to it: many at once, fewer when no commit has come
for some seconds. Loads no engine and knows no records.
"""

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

_LOG = logging.getLogger(__name__)

_MODULE = "deployments.stores.lancedb.maintenance"
# The exit status of a child when a write came between: EX_TEMPFAIL of sysexits.h.
BUSY = 75
# A run this long may take half of the time. A longer one rewrites a larger table, and takes less.
_SHORT_S = 10.0
_FAILED_REST_S = 60.0
# The longest that writes wait for a compaction that they would not let happen, and how long a table
# that needs more is left until it is idle: each try leaves files, which nothing deletes for a week.
_HOLD_S = 10.0
_TOO_LARGE_REST_S = 3_600.0
_STDERR_TAIL_CHARS = 2_000

HoldWrites = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class MaintenancePolicy:
    """When maintenance of a table is due.

    At once after `fragments` new fragments; with at least `idle_fragments` or `idle_records` after
    `idle_s` without a commit. A version is kept for `retention_s` after the next one: handles read
    it for a second, and a search for as long as it takes.
    """

    fragments: int = 100
    idle_fragments: int = 8
    idle_records: int = 1_000
    idle_s: float = 10.0
    retention_s: float = 60.0


@dataclass(slots=True)
class TableState:
    """Writes to a table since its last maintenance began. Times are monotonic."""

    name: str
    hold_writes: HoldWrites
    fragments: int = 0
    records: int = 0
    committed_s: float = field(default_factory=time.monotonic)
    not_before_s: float = 0.0
    too_busy_until_s: float = 0.0
    prune_s: float | None = None
    timer: asyncio.TimerHandle | None = None
    running: asyncio.Task[None] | None = None

    def has_grown(self, policy: MaintenancePolicy) -> bool:
        """Return whether so much was written that merging it is worth a rewrite of the table."""
        some = min(policy.idle_fragments, policy.fragments)
        return self.fragments >= some or self.records >= policy.idle_records

    def due_s(self, policy: MaintenancePolicy) -> float | None:
        """Return the time from which maintenance is due, or None."""
        if self.has_grown(policy):
            idle_s = self.committed_s + policy.idle_s
            at_once = self.fragments >= policy.fragments
            return max(self.not_before_s, min(idle_s, self.too_busy_until_s) if at_once else idle_s)
        return None if self.prune_s is None else max(self.not_before_s, self.prune_s)


class MaintenanceProcess:
    """Runs maintenance of the tables in `directory` as `policy` says."""

    def __init__(self, directory: Path, policy: MaintenancePolicy) -> None:
        self._directory = directory
        self._policy = policy
        self._one_at_a_time = asyncio.Lock()
        self._tables: dict[str, TableState] = {}
        self._closed = False

    @property
    def running(self) -> bool:
        return any(table.running for table in self._tables.values())

    def opened(self, name: str, files: int, hold_writes: HoldWrites) -> None:
        """Begin to schedule the table; `files` of data may each be a fragment of an earlier run.

        `hold_writes` is a context in which no write to the table is under way, however often the
        table is closed and opened meanwhile.
        """
        if name not in self._tables:
            self._tables[name] = TableState(name, hold_writes, fragments=files)
            self._schedule(self._tables[name])

    def committed(self, name: str, records: int) -> None:
        """Count a commit of so many records."""
        if (table := self._tables.get(name)) is None:
            return  # dropped or closed
        table.fragments += 1
        table.records += records
        table.committed_s = time.monotonic()
        self._schedule(table)

    async def stop(self, name: str) -> None:
        """End maintenance of the table, and forget its counts."""
        if (table := self._tables.pop(name, None)) is None:
            return
        if table.timer is not None:
            table.timer.cancel()
        if table.running is not None:
            table.running.cancel()
            await asyncio.wait({table.running})

    async def close(self) -> None:
        self._closed = True
        for name in list(self._tables):
            await self.stop(name)

    def _schedule(self, table: TableState) -> None:
        if table.timer is not None:
            table.timer.cancel()
            table.timer = None
        due_s = table.due_s(self._policy)
        if due_s is None or table.running is not None or self._closed:
            return
        wait_s = max(0.0, due_s - time.monotonic())
        table.timer = asyncio.get_running_loop().call_later(wait_s, self._begin, table)

    def _begin(self, table: TableState) -> None:
        table.timer = None
        table.running = asyncio.create_task(self._run(table))
        table.running.add_done_callback(partial(self._finished, table))

    def _finished(self, table: TableState, task: asyncio.Task[None]) -> None:
        table.running = None
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            _LOG.error("maintenance failed", extra={"table": table.name}, exc_info=error)
        self._schedule(table)

    async def _run(self, table: TableState) -> None:
        async with self._one_at_a_time:
            started_s = time.monotonic()
            grown = table.has_grown(self._policy)
            fragments, records = table.fragments, table.records
            table.fragments = table.records = 0
            status = None
            try:
                async with self._child(table.name) as child:
                    status = await self._result(table.name, child)
                if status == BUSY:
                    status = await self._run_alone(table)
            finally:
                ended_s = time.monotonic()
                took_s = ended_s - started_s
                rest_s = took_s * max(1.0, took_s / _SHORT_S)
                if status != 0:
                    table.fragments += fragments
                    table.records += records
                    rest_s = max(rest_s, _FAILED_REST_S)
                table.not_before_s = ended_s + rest_s
                if status == BUSY:
                    table.too_busy_until_s = ended_s + _TOO_LARGE_REST_S
                # What was merged is still there, in versions that are too young to be pruned.
                table.prune_s = ended_s + self._policy.retention_s + 1 if grown else None

    async def _run_alone(self, table: TableState) -> int:
        """Run while writes wait, but not for longer than they can."""
        async with self._child(table.name, "alone") as child, table.hold_writes():
            try:
                return await asyncio.wait_for(self._result(table.name, child), _HOLD_S)
            except TimeoutError:
                return BUSY

    @contextlib.asynccontextmanager
    async def _child(self, name: str, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start a child that has loaded the engine and waits for a line. Kill it at the end.

        The system ends it with the thread that starts it, which is this loop's: in a replica that
        runs as long as the process.
        """
        arguments = [str(self._directory), name, str(self._policy.retention_s), *options]
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            _MODULE,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
        )
        try:
            assert child.stdout is not None
            await child.stdout.readline()
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    async def _result(self, name: str, child: asyncio.subprocess.Process) -> int:
        """Let the child maintain the table. Return its exit status; log what it did, or failed."""
        out, err = await child.communicate(b"\n")
        status = await child.wait()
        if status == 0:
            done = out.decode().splitlines()
            _LOG.info("maintenance done", extra={"table": name, "done": done})
        elif status != BUSY:
            # In the message: a formatter for text leaves out what is `extra`.
            tail = err.decode(errors="replace").strip()[-_STDERR_TAIL_CHARS:]
            _LOG.error(
                "maintenance of %s ended with status %d: %s",
                name,
                status,
                tail or "it said nothing",
            )
        return status


def _environment() -> dict[str, str]:
    """Return this process's environment with its import path, and with UTC as time zone.

    A replica may have got its import path by other ways than PYTHONPATH. Versions are aged by local
    time, which must not jump.
    """
    path = os.pathsep.join(entry or os.curdir for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, "TZ": "UTC"}
