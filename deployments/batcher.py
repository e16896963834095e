"""Rows of many requests into batches for one engine.

A batch forms only when an execution slot is free, so under load it is as full as its token budget
allows; before that, work waits here, in fair order, and not in the engine. A request is taken a
few rows at a time, so that it cannot hold the stage alone. Work whose caller is gone or whose time
has run out is dropped before it reaches the engine, and work that cannot be done in time is refused
at once.

Knows no Ray, no HTTP and no model: only rows, a coroutine that computes them, and a clock.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from deployments.deadline import Clock, Deadline
from deployments.errors import DeadlineExceeded, Overloaded
from deployments.fair_queue import FairQueue, Origin
from deployments.throughput import Throughput
from deployments.token_rows import TokenRows

Compute = Callable[[TokenRows], Awaitable[NDArray[np.float32]]]


class BatchLimits(BaseModel):
    """What may be turned while the replica runs.

    A batch holds at most `max_batch_tokens`, unless one row alone is longer. One request gives
    about `turn_tokens` to it before the next has its turn. `slots` batches are computed at a time.
    More than `max_queued_tokens` waiting refuses new work.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_batch_tokens: int = Field(default=8192, gt=0)
    max_batch_rows: int = Field(default=256, gt=0)
    turn_tokens: int = Field(default=1024, gt=0)
    max_queued_tokens: int = Field(default=2_000_000, gt=0)
    slots: int = Field(default=1, gt=0)


@dataclass(slots=True)
class _Work:
    """A request's rows: those before `taken` are in batches, and `missing` have no result yet."""

    rows: TokenRows
    deadline: Deadline
    answer: asyncio.Future[NDArray[np.float32]]
    ends: NDArray[np.int64] = field(init=False)
    parts: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    taken: int = 0
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.ends = np.cumsum(self.rows.lengths, dtype=np.int64)
        self.missing = len(self.rows)

    def tokens_before(self, row: int) -> int:
        return int(self.ends[row - 1]) if row else 0

    @property
    def tokens_left(self) -> int:
        return self.rows.total_tokens - self.tokens_before(self.taken)

    def rows_within(self, tokens: int) -> int:
        """How many of the next rows hold together at most `tokens`."""
        until = self.tokens_before(self.taken) + tokens
        return int(np.searchsorted(self.ends, until, side="right")) - self.taken

    def receive(self, first: int, results: NDArray[np.float32]) -> None:
        self.parts[first] = results
        self.missing -= len(results)
        if not self.missing and not self.answer.done():
            self.answer.set_result(np.concatenate([self.parts[row] for row in sorted(self.parts)]))


@dataclass(frozen=True, slots=True)
class _Slice:
    work: _Work
    first: int
    rows: TokenRows


class Batcher:
    """`submit` rows, get their results. `limits` may be replaced at any time."""

    def __init__(self, compute: Compute, clock: Clock, limits: BatchLimits) -> None:
        self.limits = limits
        self.throughput = Throughput(clock)
        self._compute = compute
        self._clock = clock
        self._waiting: FairQueue[_Work] = FairQueue()
        self._running: set[asyncio.Task[None]] = set()
        self._running_tokens = 0
        self.queued_rows = 0

    @property
    def queued_tokens(self) -> int:
        return self._waiting.tokens

    async def submit(
        self, rows: TokenRows, timeout_s: float, origin: Origin
    ) -> NDArray[np.float32]:
        """The results of `rows`, in their order.

        Raises Overloaded at once when the queue is full or the work cannot be done in `timeout_s`,
        DeadlineExceeded when that passes before the engine starts on the last of it.
        """
        self._admit(rows.total_tokens, timeout_s, origin)
        answer: asyncio.Future[NDArray[np.float32]] = asyncio.get_running_loop().create_future()
        work = _Work(rows, Deadline.after(timeout_s, self._clock), answer)
        self._waiting.push(work, rows.total_tokens, origin)
        self.queued_rows += len(rows)
        self._fill_slots()
        return await answer

    def _admit(self, tokens: int, timeout_s: float, origin: Origin) -> None:
        if self.queued_tokens > self.limits.max_queued_tokens:
            wait_s = self.throughput.seconds_for(self.queued_tokens)
            raise Overloaded(
                "this stage has more work waiting than it accepts: try again shortly",
                retry_after_s=wait_s,
            )
        ahead = self._waiting.ahead_tokens(origin) + self._running_tokens
        wait_s = self.throughput.seconds_for(ahead + tokens)
        if ahead and wait_s > timeout_s:
            raise Overloaded(
                f"this stage would need about {wait_s:.1f} s for this and {timeout_s:.1f} s are"
                " left: try again shortly, send less, or allow more with deadline_ms",
                retry_after_s=wait_s - timeout_s,
            )

    def _fill_slots(self) -> None:
        while len(self._running) < self.limits.slots and (batch := self._take_batch()):
            task = asyncio.create_task(self._execute(batch))
            self._running.add(task)
            task.add_done_callback(self._free_slot)

    def _free_slot(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._fill_slots()

    def _take_batch(self) -> list[_Slice]:
        batch: list[_Slice] = []
        rows, tokens = self.limits.max_batch_rows, self.limits.max_batch_tokens
        while rows and tokens > 0 and self._waiting:
            work = self._waiting.head()
            if not _is_wanted(work):
                self._drop_head(work)
                continue
            fit = min(rows, work.rows_within(tokens))
            turn = max(1, min(fit, work.rows_within(self.limits.turn_tokens)))
            if not fit and batch:
                break
            taken = self._take(work, turn)
            batch.append(taken)
            rows -= len(taken.rows)
            tokens -= taken.rows.total_tokens
        return batch

    def _take(self, work: _Work, count: int) -> _Slice:
        first, last = work.taken, work.taken + count
        rows = work.rows.part(first, last, work.tokens_before(first))
        work.taken = last
        self.queued_rows -= count
        self._running_tokens += rows.total_tokens
        self._waiting.serve(rows.total_tokens, leaves=last == len(work.rows))
        return _Slice(work, first, rows)

    def _drop_head(self, work: _Work) -> None:
        self.queued_rows -= len(work.rows) - work.taken
        self._waiting.serve(0, leaves=True, dropped_tokens=work.tokens_left)

    async def _execute(self, batch: list[_Slice]) -> None:
        rows = TokenRows.concatenate([taken.rows for taken in batch])
        began = self._clock()
        try:
            results = await self._compute(rows)
        except Exception as failure:  # every caller of the batch must hear of it, whatever it is
            for taken in batch:
                if not taken.work.answer.done():
                    taken.work.answer.set_exception(failure)
            return
        finally:
            self._running_tokens -= rows.total_tokens
        full = rows.total_tokens > self.limits.max_batch_tokens // 2
        self.throughput.observe(rows.total_tokens, began, full=full)
        end = 0
        for taken in batch:
            start, end = end, end + len(taken.rows)
            taken.work.receive(taken.first, results[start:end])


def _is_wanted(work: _Work) -> bool:
    if work.answer.done():
        return False
    try:
        work.deadline.left_s()
    except DeadlineExceeded as late:
        work.answer.set_exception(late)
        return False
    return True
