"""One copy of an engine, in a process of its own, as its replica sees it.

Knows how to start it, ask it and end it. Which copy is asked, and what follows the end of one, is
`copies`.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from deployments.engine.base import EngineConfig
from deployments.engine.child import Greeting
from deployments.engine.messages import connect, receive, send
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

CHILD = (sys.executable, "-m", "deployments.engine.child")

_EXIT_S = 5.0


class EngineProcessEnded(Exception):
    """It gives no more answers; the message says what is known of its end."""


class _Asked(NamedTuple):
    at_s: float
    answer: asyncio.Future[ModelOutput]


class EngineProcess:
    """A PoolingEngine whose calls raise EngineProcessEnded and nothing else. `start` makes it.

    Calls are computed in their order. One that is cancelled is computed all the same, and its
    answer dropped.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._writer = writer
        self._asked: deque[_Asked] = deque()
        self._reading = asyncio.create_task(self._read(reader))

    @classmethod
    async def start(cls, config: EngineConfig, command: Sequence[str] = CHILD) -> "EngineProcess":
        """Raises EngineProcessEnded with the engine's own reason if it cannot be loaded.

        Call it from the thread of an event loop that lives as long as the replica: the system ends
        the process with the thread that started it.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [*command, str(theirs.fileno()), config.model_dump_json()],
                pass_fds=[theirs.fileno()],
                env=_environment(config),
            )
        reader, writer = await connect(ours)
        try:
            if (reason := await _greeting(process, reader)) is not None:
                raise EngineProcessEnded(f"the engine did not start: {reason}")
        except BaseException:
            writer.close()
            _kill(process)
            raise
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._reading.done()

    async def ended(self) -> str:
        """Wait until it has; how it did."""
        return await asyncio.shield(self._reading)

    async def embed(self, rows: TokenRows) -> ModelOutput:
        return await self._ask("embed", rows)

    async def score(self, rows: TokenRows) -> ModelOutput:
        return await self._ask("score", rows)

    async def check_health(self) -> None:
        if self.has_ended:
            raise EngineProcessEnded(self._reading.result())

    def owes_for_s(self) -> float:
        """How long its oldest answer has been waited for."""
        if not self._asked:
            return 0.0
        return asyncio.get_running_loop().time() - self._asked[0].at_s

    def kill(self) -> None:
        """End the process; its calls and `ended` hear of it."""
        self._process.kill()

    def close(self) -> None:
        """Return when the process is gone. It holds nothing that it would have to put away."""
        self._reading.cancel()
        self._writer.close()
        _kill(self._process)

    async def _ask(self, method: str, rows: TokenRows) -> ModelOutput:
        await self.check_health()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[ModelOutput] = loop.create_future()
        self._asked.append(_Asked(loop.time(), answer))
        with suppress(ConnectionError):  # `_read` hears of it too
            await send(self._writer, (method, rows))
        return await answer

    async def _read(self, reader: asyncio.StreamReader) -> str:
        """Hand out answers until the process has ended; how it did."""
        try:
            while True:
                output = await receive(reader)
                answer = self._asked.popleft().answer
                if not answer.done():
                    answer.set_result(output)
        except (EOFError, ConnectionError):
            self._writer.close()
            how = f"process {self.pid} of the engine {await _end_of(self._process)}"
        for _, answer in self._asked:
            if not answer.done():
                answer.set_exception(EngineProcessEnded(how))
        return how


async def _greeting(process: subprocess.Popen[bytes], reader: asyncio.StreamReader) -> Greeting:
    try:
        greeting: Greeting = await receive(reader)
    except (EOFError, ConnectionError):
        return f"its process {await _end_of(process)}"
    return greeting


async def _end_of(process: subprocess.Popen[bytes]) -> str:
    """How a process ended that has closed its socket."""
    try:
        code = await asyncio.to_thread(process.wait, _EXIT_S)
    except subprocess.TimeoutExpired:
        _kill(process)
        return "closed its socket and went on"
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _environment(config: EngineConfig) -> dict[str, str]:
    """This process's, with its import path, which a replica may have got by other ways."""
    path = os.pathsep.join(entry or os.curdir for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(config.threads)}
