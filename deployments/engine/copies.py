"""Several engines of one model as one, each in a process of its own.

Threads of one engine wait for one another whenever another process takes a core, and one process
cannot feed a GPU with a small model: engines that share nothing do neither. Each has one batch at a
time, so a replica that sends as many batches as there are copies keeps all of them busy.

A copy that ends is started again alone, and its batch made again on another. Knows no vLLM.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any, Literal, TypeVar

from deployments.engine.base import EngineConfig, PoolingEngine, RowsFailed, cores
from deployments.engine.engine_process import EngineProcess, EngineProcessEnded, RowsUnread
from deployments.engine.fork_server import CHILD, ForkServer
from deployments.errors import EngineFailed, InternalError
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

logger = logging.getLogger(__name__)

T = TypeVar("T")
Method = Literal["embed", "score"]
Check = Callable[[PoolingEngine], Awaitable[None]]

# A batch that has ended so many processes is taken to be the reason.
_ATTEMPTS = 2
# Starts that fail in a row before an engine without a single copy is given up.
_FAILED_STARTS = 3
# A batch takes a second or so: a copy that has not answered for so long never will.
_STUCK_S = 60.0
# Large models load for minutes, and are compiled for as long; one that takes longer never will.
_LONGEST_START_S = 600.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


class EngineCopies:
    """A PoolingEngine. `start` makes it.

    A batch that ends the process of one copy after another raises InternalError, and the engine
    goes on. EngineFailed means that no copy is left and none can be started.
    """

    def __init__(self, server: ForkServer, check: Check | None) -> None:
        self._server = server
        self._check = check
        self._copies: set[EngineProcess] = set()
        # None, once there, is for everyone: no copy will come any more.
        self._free: asyncio.Queue[EngineProcess | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failed_starts = 0
        self._lost = False

    @classmethod
    async def start(
        cls, config: EngineConfig, check: Check | None, command: Sequence[str] = CHILD
    ) -> "EngineCopies":
        """Load `config.engines()` copies. One serves only when it has passed `check`, also in
        place of another. Raises what the check or the first failed start raised."""
        engine = cls(ForkServer(config_of_one(config), command), check)
        starts = [asyncio.create_task(engine._add()) for _ in range(config.engines())]
        try:
            copies = await asyncio.gather(*starts)
        except BaseException:
            for one in starts:
                one.cancel()
            await asyncio.wait(starts)
            engine.close()
            raise
        for copy in copies:
            engine._spawn(engine._keep(copy))
        return engine

    @property
    def living(self) -> Collection[EngineProcess]:
        """The copies that live. One that is closed is started anew."""
        return set(self._copies)

    @property
    def pids(self) -> set[int]:
        """Process ids of the copies that live."""
        return {copy.pid for copy in self._copies}

    async def embed(self, rows: TokenRows) -> ModelOutput:
        return await self._compute("embed", rows)

    async def score(self, rows: TokenRows) -> ModelOutput:
        return await self._compute("score", rows)

    async def check_health(self) -> None:
        """End copies that are stuck: while another answers, nothing else would show them."""
        for copy in self._copies:
            if copy.owes_for_s() > _STUCK_S:
                logger.error("process %d of the engine is stuck", copy.pid)
                copy.close()
        if self._lost:
            raise EngineFailed("no copy of the model engine can be started")

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for copy in self._copies:
            copy.close()
        self._server.close()

    async def _compute(self, method: Method, rows: TokenRows) -> ModelOutput:
        # The copy is free when it has answered, and not when nobody waits for its answer any more.
        return await asyncio.shield(self._spawn(self._answer(method, rows)))

    async def _answer(self, method: Method, rows: TokenRows) -> ModelOutput:
        attempts = 0
        while attempts < _ATTEMPTS:
            copy = await self._take()
            try:
                answer = await (copy.embed(rows) if method == "embed" else copy.score(rows))
            except EngineProcessEnded as ended:
                attempts += not isinstance(ended, RowsUnread)
                continue
            except RowsFailed:
                self._free.put_nowait(copy)
                raise
            self._free.put_nowait(copy)
            return answer
        raise InternalError(f"{_ATTEMPTS} model engines have ended at this batch")

    async def _take(self) -> EngineProcess:
        while (copy := await self._free.get()) is not None:
            if not copy.has_ended:
                return copy
        self._free.put_nowait(None)
        raise EngineFailed("no copy of the model engine can be started")

    async def _keep(self, copy: EngineProcess | None) -> None:
        """Keep one place filled: by `copy`, and by others after it."""
        while copy is not None:
            self._free.put_nowait(copy)
            await copy.ended()
            self._copies.discard(copy)
            logger.error("process %d of the engine has ended: it is started again", copy.pid)
            copy = await self._start_again()

    async def _start_again(self) -> EngineProcess | None:
        """None if there is no copy left and none can be started."""
        pause_s = _FIRST_PAUSE_S
        while not self._lost:
            try:
                return await self._add()
            except Exception:  # of the check, whatever it is
                logger.exception("a copy of the model engine does not start")
                self._failed_starts += 1
            if not self._copies and self._failed_starts >= _FAILED_STARTS:
                self._lost = True
                self._free.put_nowait(None)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return None

    async def _add(self) -> EngineProcess:
        server = self._server
        try:
            async with asyncio.timeout(_LONGEST_START_S):
                copy = await self._checked(server)
        except TimeoutError as late:
            # What copies are forked from may hang itself. It cannot be replaced beside a copy that
            # lives, which would end with it, nor need it be when another start has done so.
            if not self._copies and server is self._server:
                self._server = server.replaced()
            raise EngineProcessEnded(f"not started within {_LONGEST_START_S:.0f} s") from late
        self._copies.add(copy)
        self._failed_starts = 0
        return copy

    async def _checked(self, server: ForkServer) -> EngineProcess:
        """A new copy that has passed."""
        copy = await EngineProcess.start(server)
        try:
            if self._check is not None:
                await self._check(copy)
        except BaseException:
            copy.close()
            raise
        return copy

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def copies_of(engine: PoolingEngine) -> Collection[PoolingEngine]:
    """Engines that answer for themselves: each copy that lives, or any other engine alone."""
    return engine.living if isinstance(engine, EngineCopies) else [engine]


def config_of_one(config: EngineConfig) -> EngineConfig:
    """Its share of the cores and of the memory."""
    count = config.engines()
    return config.model_copy(
        update={
            "copies": None,
            "threads": config.threads or max(1, cores() // count),
            "gpu_memory_utilization": config.gpu_memory_utilization / count,
        }
    )
