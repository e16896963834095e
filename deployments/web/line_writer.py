"""Lines for a log, written behind: a request never waits for the disk or for whoever reads a pipe.

Lines that come faster than they are written are dropped and counted, so memory is bounded.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from functools import cache

logger = logging.getLogger(__name__)

_WRITE_EVERY_S = 0.2
_LAST_WRITE_S = 2.0
_MAX_LINES = 10_000


class LineWriter:
    """`write` gets many lines at once, in a thread. `on_dropped` makes a line of the number of
    lines that were lost before it."""

    def __init__(
        self, write: Callable[[bytes], object], on_dropped: Callable[[int], bytes]
    ) -> None:
        self._write = write
        self._on_dropped = on_dropped
        self._lines: list[bytes] = []
        self._dropped = 0
        self._writing: asyncio.Task[None] | None = None
        # One: what is written first comes first.
        self._thread = ThreadPoolExecutor(1, "request-log")

    def add(self, line: bytes) -> None:
        """Queue a line, which ends in a newline. Call it in the event loop."""
        if len(self._lines) >= _MAX_LINES:
            self._dropped += 1
            return
        self._lines.append(line)
        if self._writing is None:
            # In no request's context: Serve ends the tasks of one whose client is gone.
            self._writing = asyncio.create_task(self._write_behind(), context=Context())

    async def close(self) -> None:
        """Write what is queued, unless nobody reads it within two seconds."""
        try:
            async with asyncio.timeout(_LAST_WRITE_S):
                if self._writing is not None:
                    self._writing.cancel()
                    await asyncio.wait([self._writing])
                await self._write_queued()
        except TimeoutError:
            logger.warning("the last lines of the request log were not written")

    async def _write_behind(self) -> None:
        try:
            while self._lines:
                await asyncio.sleep(_WRITE_EVERY_S)
                await self._write_queued()
        finally:
            self._writing = None

    async def _write_queued(self) -> None:
        lines, self._lines = self._lines, []
        if self._dropped:
            lines.append(self._on_dropped(self._dropped))
            self._dropped = 0
        if lines:
            # Shielded: the lines have left the queue, and would be lost with the task.
            writing = asyncio.get_running_loop().run_in_executor(
                self._thread, self._try_write, b"".join(lines)
            )
            await asyncio.shield(writing)

    def _try_write(self, lines: bytes) -> None:
        try:
            self._write(lines)
        except OSError:
            logger.exception("lines of the request log could not be written")


@cache
def standard_output() -> Callable[[bytes], None]:
    """Return a function that writes to the process's standard output.

    In a replica `sys.stdout` is not it: Serve puts what is written there into its own log.
    """
    stream = open(1, "wb", closefd=False)  # noqa: SIM115 # for as long as the process lives

    def write(lines: bytes) -> None:
        stream.write(lines)
        stream.flush()

    return write
