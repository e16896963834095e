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
from deployments.engine.child import Greeting
from deployments.engine.fork_server import ForkServer
from deployments.engine.messages import connect, receive, send
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows


class EngineProcessEnded(Exception):
    """It gives no answers, or no more. How a process ended is in its log."""


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
        """Raises EngineProcessEnded with the engine's own reason if it cannot be loaded."""
        try:
            reader, writer = await connect(server.fork())
        except ConnectionError as gone:
            raise EngineProcessEnded("the process that starts engines has ended") from gone
        try:
            greeting: Greeting = await receive(reader)
            if isinstance(greeting, str):
                raise EngineProcessEnded(f"the engine did not start: {greeting}")
        except BaseException as failure:
            writer.close()  # which ends the process
            if isinstance(failure, EOFError | ConnectionError):
                raise EngineProcessEnded("the engine's process ended while it loaded") from failure
            raise
        return cls(greeting, reader, writer)

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

    def kill(self) -> None:
        """End the process; its calls and `ended` hear of it."""
        if not self.has_ended:  # after that another may have its id
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """It holds nothing that it would have to put away."""
        self.kill()
        self._reading.cancel()
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
        with suppress(EOFError, ConnectionError):
            while True:
                output = await receive(reader)
                answer = self._asked.popleft().answer
                if answer.done():
                    continue
                if isinstance(output, RowsFailed):
                    answer.set_exception(output)
                else:
                    answer.set_result(output)
        self._writer.close()
        for _, answer in self._asked:
            if not answer.done():
                answer.set_exception(EngineProcessEnded(f"process {self.pid} has ended"))
