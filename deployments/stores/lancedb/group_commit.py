"""Group commit: writes to one table are serialised, and waiting upserts share one commit.

A commit with its durability barrier costs about the same for one record as for a hundred, and two
concurrent commits to one table conflict. Knows neither the engine nor what is in the records.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from deployments.stores.base import Record

Result = TypeVar("Result")


class GroupCommit:
    """The write queue of one table.

    `commit` gets up to `max_records` records in order of arrival and returns once they are durable.
    A single larger upsert is one commit.
    """

    def __init__(
        self, commit: Callable[[Sequence[Record]], Awaitable[None]], max_records: int
    ) -> None:
        self._commit = commit
        self._max_records = max_records
        self._turn = asyncio.Lock()
        # Counted here because the lock counts as free while it passes from one to the next.
        self._turns_due = 0
        self._waiting: deque[tuple[Sequence[Record], asyncio.Future[None]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether no write is under way and none waits."""
        return self._worker is None and self._turns_due == 0

    async def upsert(self, records: Sequence[Record]) -> None:
        """Wait until a commit with these records is durable. Raises what that commit raised."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((records, done))
        if self._worker is None:
            self._worker = asyncio.create_task(self._drain())
        await done

    async def exclusive(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run `work` while no other write runs.

        A cancelled caller does not cancel it: half a write would lack its barrier.
        """

        async def take_turn() -> Result:
            async with self._turn:
                return await work()

        turn = asyncio.create_task(take_turn())
        self._turns_due += 1  # from now on, and not from when the task begins
        turn.add_done_callback(self._turn_taken)
        return await asyncio.shield(turn)

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Let no write run inside the context."""
        self._turns_due += 1
        try:
            async with self._turn:
                yield
        finally:
            self._turns_due -= 1

    async def settle(self) -> None:
        """Wait until no write is under way."""
        while self._worker is not None:
            await asyncio.wait({self._worker})
        async with self._turn:
            return

    def _turn_taken(self, _: asyncio.Task[Any]) -> None:
        self._turns_due -= 1

    async def _drain(self) -> None:
        try:
            while self._waiting:
                async with self._turn:
                    await self._commit_group(self._next_group())
        finally:
            self._worker = None

    def _next_group(self) -> list[tuple[Sequence[Record], asyncio.Future[None]]]:
        group: list[tuple[Sequence[Record], asyncio.Future[None]]] = []
        size = 0
        while self._waiting and (not group or size + len(self._waiting[0][0]) <= self._max_records):
            records, done = self._waiting.popleft()
            if not done.done():  # a caller cancelled before its turn is not written at all
                group.append((records, done))
                size += len(records)
        return group

    async def _commit_group(
        self, group: list[tuple[Sequence[Record], asyncio.Future[None]]]
    ) -> None:
        if not group:
            return
        outcome: BaseException | None = None
        try:
            await self._commit([record for records, _ in group for record in records])
        except BaseException as error:
            # Every waiting caller gets the error that stopped the commit.
            outcome = error
            if not isinstance(error, Exception):
                raise
        finally:
            for _, done in group:
                if not done.done() and outcome is None:
                    done.set_result(None)
                elif not done.done() and isinstance(outcome, Exception):
                    done.set_exception(outcome)
                elif not done.done():
                    done.cancel()
