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

from pydantic import BaseModel, ConfigDict, Field

from deployments.batching.fair_queue import FairQueue
from deployments.batching.throughput import Throughput
from deployments.batching.wait_estimates import Foresight
from deployments.errors import DeadlineExceeded, Overloaded
from deployments.request.deadline import Clock, Deadline
from deployments.request.origin import Lane, Origin
from deployments.rows.batch import Batch
from deployments.rows.model_output import ModelOutput
from deployments.rows.row_slices import PendingRows, RowSlice, fail, hand_out
from deployments.rows.token_rows import TokenRows

Compute = Callable[[TokenRows], Awaitable[ModelOutput]]

# Of the time that is left; the rest is for what an estimate does not see, such as the way back.
_TIME_TO_USE = 0.9
# A tenant may save up so much of the engine's time.
_CREDIT_S = 1.0


class BatchLimits(BaseModel):
    """What may be turned while the replica runs.

    A batch holds at most `max_batch_tokens`, unless one row alone is longer. One request gives
    about `turn_tokens` to it before the next has its turn. `slots` batches are computed at a time.
    New work is refused that would have more than `max_queued_tokens` done before it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_batch_tokens: int = Field(default=8192, gt=0)
    max_batch_rows: int = Field(default=256, gt=0)
    turn_tokens: int = Field(default=1024, gt=0)
    max_queued_tokens: int = Field(default=2_000_000, gt=0)
    slots: int = Field(default=1, gt=0)


class Batcher:
    """`submit` rows, get their results. `limits` may be replaced at any time.

    `observe` is told of every batch that was computed.
    """

    def __init__(
        self,
        compute: Compute,
        clock: Clock,
        limits: BatchLimits,
        observe: Callable[[Batch], None] = lambda _: None,
    ) -> None:
        self.limits = limits
        self.throughput = Throughput(clock)
        self._compute = compute
        self._clock = clock
        self._observe = observe
        self._foresight = Foresight()
        self._waiting: FairQueue[PendingRows] = FairQueue()
        # In order of arrival; a request leaves with the last of its rows.
        self._since: dict[PendingRows, tuple[float, Lane]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._running_tokens = 0
        self.queued_rows = 0

    @property
    def queued_tokens(self) -> int:
        return self._waiting.tokens

    @property
    def lane_tokens(self) -> dict[Lane, int]:
        return self._waiting.lane_tokens

    def oldest_wait_s(self) -> float:
        """Of the requests outside bulk that wait with a row or more."""
        waiting = (since for since, lane in self._since.values() if lane != "bulk")
        return self._clock() - next(waiting, self._clock())

    async def submit(self, rows: TokenRows, timeout_s: float, origin: Origin) -> ModelOutput:
        """The results of `rows`, in their order.

        Raises Overloaded at once when the queue is full or the work cannot be done in `timeout_s`,
        DeadlineExceeded when that passes before the engine starts on the last of it.
        """
        estimate_s = self._admit(rows.total_tokens, timeout_s, origin)
        came_s = self._clock()
        answer: asyncio.Future[ModelOutput] = asyncio.get_running_loop().create_future()
        work = PendingRows(rows, Deadline.after(timeout_s, self._clock), answer)
        self._waiting.credit_tokens = _CREDIT_S * self.throughput.tokens_per_s
        self._waiting.push(work, rows.total_tokens, origin, self.limits.turn_tokens)
        self._since[work] = (came_s, origin.lane)
        self.queued_rows += len(rows)
        self._fill_slots()
        try:
            return await answer
        finally:
            if not answer.cancelled():
                self._foresight.learn(origin, estimate_s, self._clock() - came_s)

    def _admit(self, tokens: int, timeout_s: float, origin: Origin) -> float:
        """In about how many seconds it is done, as far as can be seen now."""
        until_done = self._waiting.tokens_until_done(tokens, origin)
        before = until_done + self._running_tokens - tokens
        if before <= 0:
            return 0.0  # an idle engine takes whatever comes
        # The last row waits for the whole of its batch.
        batch = min(self.queued_tokens, self.limits.max_batch_tokens)
        estimate_s = self.throughput.seconds_for(before + tokens + batch)
        factor = self._foresight.factor(origin)
        wait_s = factor * estimate_s
        late_s = wait_s - _TIME_TO_USE * timeout_s
        if late_s > 0:
            raise Overloaded(
                f"this stage would need about {wait_s:.1f} s for this and {timeout_s:.1f} s are"
                " left: try again shortly, send less, or allow more with deadline_ms",
                retry_after_s=late_s,
                token_s=factor * self.throughput.seconds_for(1 / self._waiting.share(origin)),
            )
        if until_done - tokens > self.limits.max_queued_tokens:
            raise Overloaded(
                "this stage has more work waiting than it accepts: try again shortly",
                retry_after_s=wait_s or None,
            )
        return estimate_s

    def _fill_slots(self) -> None:
        while len(self._running) < self.limits.slots and (batch := self._take_batch()):
            task = asyncio.create_task(self._execute(batch))
            self._running.add(task)
            task.add_done_callback(self._free_slot)

    def _free_slot(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._fill_slots()

    def _take_batch(self) -> list[RowSlice]:
        batch: list[RowSlice] = []
        rows, tokens = self.limits.max_batch_rows, self.limits.max_batch_tokens
        while rows and tokens > 0 and self._waiting:
            work = self._waiting.head()
            if not self._is_wanted(work):
                self._drop_head(work)
                continue
            fit = min(rows, work.fitting(tokens))
            turn = max(1, min(fit, work.fitting(self.limits.turn_tokens)))
            if not fit and batch:
                break
            portion = self._take(work, turn)
            batch.append(portion)
            rows -= len(portion.rows)
            tokens -= portion.rows.total_tokens
        return batch

    def _take(self, work: PendingRows, count: int) -> RowSlice:
        portion = work.take(count)
        tokens = portion.rows.total_tokens
        self.queued_rows -= count
        self._running_tokens += tokens
        self._waiting.serve(tokens, leaves=not work.left)
        if not work.left:
            del self._since[work]
        return portion

    def _drop_head(self, work: PendingRows) -> None:
        self.queued_rows -= work.left
        del self._since[work]
        self._waiting.serve(0, leaves=True, dropped_tokens=work.left_tokens)

    def _is_wanted(self, work: PendingRows) -> bool:
        if work.answer.done():
            return False
        try:
            work.deadline.earlier(self.throughput.seconds_for(work.left_tokens)).left_s()
        except DeadlineExceeded as late:
            work.answer.set_exception(late)
            return False
        return True

    async def _execute(self, batch: list[RowSlice]) -> None:
        rows = TokenRows.concatenate([portion.rows for portion in batch])
        began = self._clock()
        try:
            results = await self._compute(rows)
        except Exception as failure:  # every caller of the batch must hear of it, whatever it is
            fail(batch, failure)
            return
        finally:
            self._running_tokens -= rows.total_tokens
        self._note(rows, results, began)
        hand_out(batch, results)

    def _note(self, rows: TokenRows, results: ModelOutput, began_s: float) -> None:
        tokens = rows.total_tokens
        full = tokens > self.limits.max_batch_tokens // 2
        self.throughput.observe(tokens, began_s, full=full)
        cached = int(results.cached_tokens.sum())
        self._observe(Batch(len(rows), tokens, cached, self._clock() - began_s))
