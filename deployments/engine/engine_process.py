"""One copy of an engine, in a process of its own, as its replica sees it.

Knows how to start it, ask it and end it. Which copy is asked, and what follows the end of one, is
`copies`.
"""

import asyncio
import os
import signal
from collections import deque
from contextlib import suppress
from typing import NamedTuple

from deployments.engine.base import RowsFailed
from deployments.engine.child import Loaded
from deployments.engine.fork_server import ForkServer
from deployments.engine.messages import connect, receive, send
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows


class EngineProcessEnded(Exception):
    """It gives no answers, or no more. How a process ended is in its log."""


class RowsUnread(EngineProcessEnded):
    """It ended before it had read these rows, so they are not the reason."""


class _Asked(NamedTuple):
    at_s: float
    answer: asyncio.Future[ModelOutput]


class EngineProcess:
    """A PoolingEngine whose calls raise EngineProcessEnded instead of EngineFailed. `start` makes
    it.

    Calls are computed in their order. One that is cancelled is computed all the same, and its
    answer dropped.
    """

    def __init__(
        self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.pid = pid
        self._writer = writer
        self._asked: deque[_Asked] = deque()
        self._reading = asyncio.create_task(self._read(reader))

    @classmethod
    async def start(cls, server: ForkServer) -> "EngineProcess":
        """Raises EngineProcessEnded with the engine's own reason if it cannot be loaded. If nobody
        waits for it any more, it ends."""
        try:
            reader, writer = await connect(server.fork())
        except ConnectionError as gone:
            raise EngineProcessEnded("the process that starts engines has ended") from gone
        pid: int | None = None
        try:
            pid = await receive(reader)
            failure: Loaded = await receive(reader)
        except BaseException as ended:
            writer.close()  # which ends the process, unless it hangs
            if isinstance(ended, EOFError | ConnectionError):
                raise EngineProcessEnded("the engine's process ended while it loaded") from ended
            if pid is not None:
                _kill(pid)
            raise
        if failure is not None:
            writer.close()
            raise EngineProcessEnded(f"the engine did not start: {failure}")
        return cls(pid, reader, writer)

    @property
    def has_ended(self) -> bool:
        return self._reading.done()

    async def ended(self) -> None:
        """Wait until it has."""
        await asyncio.shield(self._reading)

    async def embed(self, rows: TokenRows) -> ModelOutput:
        return await self._ask("embed", rows)

    async def score(self, rows: TokenRows) -> ModelOutput:
        return await self._ask("score", rows)

    async def check_health(self) -> None:
        if self.has_ended:
            raise EngineProcessEnded(f"process {self.pid} of the engine has ended")

    def owes_for_s(self) -> float:
        """How long its oldest answer has been waited for."""
        if not self._asked:
            return 0.0
        return asyncio.get_running_loop().time() - self._asked[0].at_s

    def close(self) -> None:
        """Kill the process, which holds nothing that it would have to put away. Its calls and
        `ended` hear of it."""
        if not self.has_ended:  # after that another may have its id
            _kill(self.pid)
        self._writer.close()

    async def _ask(self, method: str, rows: TokenRows) -> ModelOutput:
        await self.check_health()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[ModelOutput] = loop.create_future()
        self._asked.append(_Asked(loop.time(), answer))
        with suppress(ConnectionError):  # `_read` hears of it too
            await send(self._writer, (method, rows))
        return await answer

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Hand out answers until the process has ended."""
        ended = EngineProcessEnded
        try:
            while True:
                output = await receive(reader)
                answer = self._asked.popleft().answer
                if answer.done():
                    continue
                if isinstance(output, RowsFailed):
                    answer.set_exception(output)
                else:
                    answer.set_result(output)
        except EOFError:
            pass
        except ConnectionError:  # the system's word for a process that left something unread
            ended = RowsUnread
        self._writer.close()
        while self._asked:
            answer = self._asked.pop().answer
            if not answer.done():
                answer.set_exception(ended(f"process {self.pid} has ended"))
            ended = EngineProcessEnded  # what was asked before may have been read


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
