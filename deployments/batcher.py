"""Rows of many requests into batches for one engine.

A batch forms only when an execution slot is free, so under load it is as full as its token budget
allows; before that, work waits here, in order of arrival, and not in the engine. A large request
is taken in parts, so that it cannot hold the stage alone. Work whose caller is gone or whose time
has run out is dropped before it reaches the engine.

Knows no Ray, no HTTP and no model: only rows, a coroutine that computes them, and a clock.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from deployments.deadline import Clock, Deadline
from deployments.errors import DeadlineExceeded, Overloaded
from deployments.token_rows import TokenRows

Compute = Callable[[TokenRows], Awaitable[NDArray[np.float32]]]


class BatchLimits(BaseModel):
    """What may be turned while the replica runs.

    A batch holds at most `max_batch_tokens`, unless one row alone is longer. `slots` batches are
    computed at a time. More than `max_queued_tokens` waiting refuses new work.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_batch_tokens: int = Field(default=8192, gt=0)
    max_batch_rows: int = Field(default=256, gt=0)
    max_queued_tokens: int = Field(default=2_000_000, gt=0)
    slots: int = Field(default=1, gt=0)


@dataclass(slots=True)
class _Part:
    rows: TokenRows
    deadline: Deadline
    answer: asyncio.Future[NDArray[np.float32]]


class Batcher:
    """`submit` rows, get their results. `limits` may be replaced at any time."""

    def __init__(self, compute: Compute, clock: Clock, limits: BatchLimits) -> None:
        self.limits = limits
        self._compute = compute
        self._clock = clock
        self._waiting: deque[_Part] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self.queued_rows = 0
        self.queued_tokens = 0

    async def submit(self, rows: TokenRows, timeout_s: float) -> NDArray[np.float32]:
        """The results of `rows`, in their order.

        Raises Overloaded at once when the queue is full, DeadlineExceeded when `timeout_s` passes
        before the engine starts on them.
        """
        if self.queued_tokens > self.limits.max_queued_tokens:
            raise Overloaded("this stage has more work waiting than it accepts: try again shortly")
        deadline = Deadline.after(timeout_s, self._clock)
        loop = asyncio.get_running_loop()
        parts = [_Part(part, deadline, loop.create_future()) for part in self._split(rows)]
        self._waiting.extend(parts)
        self.queued_rows += len(rows)
        self.queued_tokens += rows.total_tokens
        self._fill_slots()
        return np.concatenate(await asyncio.gather(*(part.answer for part in parts)))

    def _split(self, rows: TokenRows) -> list[TokenRows]:
        """Parts that each fit one batch."""
        bounds: list[int] = []
        first, tokens = 0, 0
        for index, length in enumerate(rows.lengths.tolist()):
            full = tokens + length > self.limits.max_batch_tokens
            if index > first and (full or index - first == self.limits.max_batch_rows):
                bounds.append(index)
                first, tokens = index, 0
            tokens += length
        return rows.split(bounds)

    def _fill_slots(self) -> None:
        while len(self._running) < self.limits.slots and (batch := self._take_batch()):
            task = asyncio.create_task(self._execute(batch))
            self._running.add(task)
            task.add_done_callback(self._free_slot)

    def _free_slot(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._fill_slots()

    def _take_batch(self) -> list[_Part]:
        batch: list[_Part] = []
        rows, tokens = 0, 0
        while self._waiting:
            part = self._waiting[0]
            rows += len(part.rows)
            tokens += part.rows.total_tokens
            over = tokens > self.limits.max_batch_tokens or rows > self.limits.max_batch_rows
            if batch and over:
                break
            self._waiting.popleft()
            self.queued_rows -= len(part.rows)
            self.queued_tokens -= part.rows.total_tokens
            if self._is_wanted(part):
                batch.append(part)
            else:
                rows -= len(part.rows)
                tokens -= part.rows.total_tokens
        return batch

    def _is_wanted(self, part: _Part) -> bool:
        if part.answer.done():
            return False
        try:
            part.deadline.left_s()
        except DeadlineExceeded as late:
            part.answer.set_exception(late)
            return False
        return True

    async def _execute(self, batch: list[_Part]) -> None:
        try:
            results = await self._compute(TokenRows.concatenate([part.rows for part in batch]))
        except Exception as failure:  # every caller of the batch must hear of it, whatever it is
            for part in batch:
                if not part.answer.done():
                    part.answer.set_exception(failure)
            return
        end = 0
        for part in batch:
            start, end = end, end + len(part.rows)
            if not part.answer.done():
                part.answer.set_result(results[start:end])
