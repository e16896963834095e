"""Runs maintenance of tables in processes of their own, one at a time. Loads no engine.

Also decides when a table has had enough commits to be worth one.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from pathlib import Path

from deployments.errors import StageUnavailable, StorageFull
from deployments.stores.base import Maintenance

_LOG = logging.getLogger(__name__)

EXIT_STORAGE_FULL = 28

_MODULE = "deployments.stores.lancedb_maintenance"
# A compaction may rewrite the whole table: it gets at most this share of the time.
_DUTY = 0.05
_STDERR_TAIL_CHARS = 2_000


class MaintenanceProcess:
    def __init__(self, directory: Path, commits_between: int) -> None:
        self._directory = directory
        self._commits_between = commits_between
        self._one_at_a_time = asyncio.Lock()
        self._commits: dict[str, int] = {}
        self._not_before_s: dict[str, float] = {}
        self._running: dict[str, set[asyncio.Task[Maintenance]]] = {}

    async def run(self, table: str) -> Maintenance:
        """Raises StorageFull, or StageUnavailable if the process failed."""
        task = self._start(table)
        await asyncio.wait({task})
        if task.cancelled():
            raise StageUnavailable("the maintenance of the collection was stopped")
        return task.result()

    def committed(self, table: str) -> None:
        """Count a commit; start a run in the background if the table is due for one."""
        self._commits[table] = self._commits.get(table, 0) + 1
        due = self._commits[table] >= self._commits_between
        if (
            due
            and not self._running.get(table)
            and (time.monotonic() >= self._not_before_s.get(table, 0.0))
        ):
            self._start(table)

    async def stop(self, table: str) -> None:
        """No process works on the table on return, and its counts are forgotten."""
        tasks = self._running.pop(table, set())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._commits.pop(table, None)
        self._not_before_s.pop(table, None)

    async def close(self) -> None:
        for table in list(self._running):
            await self.stop(table)

    def _start(self, table: str) -> asyncio.Task[Maintenance]:
        self._commits[table] = 0
        task = asyncio.create_task(self._run(table))
        tasks = self._running.setdefault(table, set())
        tasks.add(task)

        def finished(task: asyncio.Task[Maintenance]) -> None:
            tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                _LOG.error("maintenance failed", extra={"table": table}, exc_info=error)

        task.add_done_callback(finished)
        return task

    async def _run(self, table: str) -> Maintenance:
        async with self._one_at_a_time:
            started_s = time.monotonic()
            try:
                return await self._spawn(table)
            finally:
                now_s = time.monotonic()
                self._not_before_s[table] = now_s + (now_s - started_s) / _DUTY

    async def _spawn(self, table: str) -> Maintenance:
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
        if process.returncode == EXIT_STORAGE_FULL:
            raise StorageFull("the index has no space left to compact itself")
        if process.returncode != 0:
            tail = err.decode(errors="replace")[-_STDERR_TAIL_CHARS:]
            _LOG.error("maintenance process failed", extra={"table": table, "stderr": tail})
            raise StageUnavailable("the maintenance of the collection did not finish")
        return Maintenance(**json.loads(out.splitlines()[-1]))


def _environment() -> dict[str, str]:
    """This process's, with its import path, which a replica may have got by other ways, and a
    clock that never jumps, as versions are aged by local time."""
    path = os.pathsep.join(entry or os.curdir for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, "TZ": "UTC"}
