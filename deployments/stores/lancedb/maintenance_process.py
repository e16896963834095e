"""Scheduling of table maintenance, which runs in child processes, one at a time.

A table is due after a number of commits. Loads no engine and knows no records.
"""

import asyncio
import contextlib
import logging
import os
import sys
import time
from functools import partial
from pathlib import Path

_LOG = logging.getLogger(__name__)

_MODULE = "deployments.stores.lancedb.maintenance"
# A compaction may rewrite the whole table, so it may take at most this share of the time.
_DUTY = 0.05
_STDERR_TAIL_CHARS = 2_000


class MaintenanceProcess:
    """Runs maintenance of the tables in `directory`, each after `commits_between` commits."""

    def __init__(self, directory: Path, commits_between: int) -> None:
        self._directory = directory
        self._commits_between = commits_between
        self._one_at_a_time = asyncio.Lock()
        self._commits: dict[str, int] = {}
        self._not_before_s: dict[str, float] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    def committed(self, table: str) -> None:
        """Count a commit, and start maintenance in the background if the table is due."""
        self._commits[table] = self._commits.get(table, 0) + 1
        due = self._commits[table] >= self._commits_between
        may_start = time.monotonic() >= self._not_before_s.get(table, 0.0)
        if due and may_start and table not in self._running:
            self._commits[table] = 0
            task = asyncio.create_task(self._run(table))
            self._running[table] = task
            task.add_done_callback(partial(self._finished, table))

    async def stop(self, table: str) -> None:
        """End maintenance of the table, and forget its counts."""
        if task := self._running.get(table):
            task.cancel()
            await asyncio.wait({task})
        self._commits.pop(table, None)
        self._not_before_s.pop(table, None)

    async def close(self) -> None:
        for table in list(self._running):
            await self.stop(table)

    def _finished(self, table: str, task: asyncio.Task[None]) -> None:
        del self._running[table]
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("maintenance failed", extra={"table": table}, exc_info=error)

    async def _run(self, table: str) -> None:
        async with self._one_at_a_time:
            started_s = time.monotonic()
            try:
                await self._spawn(table)
            finally:
                now_s = time.monotonic()
                self._not_before_s[table] = now_s + (now_s - started_s) / _DUTY

    async def _spawn(self, table: str) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            _MODULE,
            str(self._directory),
            table,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
        )
        try:
            out, err = await process.communicate()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if process.returncode == 0:
            done = out.decode().splitlines()
            _LOG.info("maintenance done", extra={"table": table, "done": done})
        else:
            tail = err.decode(errors="replace")[-_STDERR_TAIL_CHARS:]
            _LOG.error("maintenance process failed", extra={"table": table, "stderr": tail})


def _environment() -> dict[str, str]:
    """Return this process's environment with its import path, and with UTC as time zone.

    A replica may have got its import path by other ways than PYTHONPATH. Versions are aged by local
    time, which must not jump.
    """
    path = os.pathsep.join(entry or os.curdir for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, "TZ": "UTC"}
