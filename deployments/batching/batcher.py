"""Rows of many requests into batches for one engine or store.

A batch forms only when an execution slot is free, so under load it is as full as its budget allows;
before that, work waits here, in fair order, and not in the engine. A request is taken a few rows at
a time, so that it cannot hold the stage alone. Work whose caller is gone or whose time has run out
is dropped before it reaches the engine, and work that cannot be done in time is refused at once.

Costs are tokens for an engine and milliseconds for a store. Knows no Ray, no HTTP, no model and no
store: only rows, a coroutine that computes them, and a clock.
"""

import asyncio
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Generic

from pydantic import BaseModel, ConfigDict, Field

from deployments.batching.fair_queue import FairQueue
from deployments.batching.throughput import Throughput, Work
from deployments.errors import DeadlineExceeded, Overloaded, StageUnavailable
from deployments.request.batch_run import BatchRun
from deployments.request.deadline import Clock, Deadline
from deployments.request.origin import Lane, Origin
from deployments.rows.row_slices import O, PendingRows, R, RowSlice, concatenate, fail, hand_out

# Of the time that is left; the rest is for what an estimate does not see, such as the way back.
TIME_TO_USE = 0.9
# A tenant may save up so much of the engine's time.
_CREDIT_S = 1.0
# The least part of a full batch that is worth a slot of its own: less costs more to hand over than
# the slot saves.
_LEAST_SPREAD = 1 / 3


class BatchLimits(BaseModel):
    """Limits that may change while the replica runs.

    A batch holds at most `max_batch_tokens`, unless one row alone is longer, and about what a slot
    was measured to compute in `max_batch_ms`, so that nothing waits long for a batch of others.
    One request gives about `turn_tokens` to it before the next has its turn. `slots` batches are
    computed at a time. New work is refused that would have more than `max_queued_tokens` done
    before it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_batch_tokens: int = Field(default=8192, gt=0)
    max_batch_rows: int = Field(default=256, gt=0)
    max_batch_ms: float | None = Field(default=None, gt=0)
    turn_tokens: int = Field(default=1024, gt=0)
    max_queued_tokens: int = Field(default=2_000_000, gt=0)
    slots: int = Field(default=1, gt=0)


class Batcher(Generic[R, O]):
    """`submit` rows, get their results. `limits` may be replaced at any time. `batches_done` and
    `cost_done` are counted from the start.

    `observe` is called with the rows, the results and the seconds of every batch, `waited` with the
    lane and the seconds in the queue of every request whose last rows leave it. Unless `mixed`, all
    rows of a batch are of one origin. With `measured_as`, the name of the replica, results say in
    which batches they were computed.
    """

    def __init__(
        self,
        compute: Callable[[R], Awaitable[O]],
        clock: Clock,
        limits: BatchLimits,
        observe: Callable[[R, O, float], None] = lambda *_: None,
        *,
        mixed: bool = True,
        measured_as: str = "",
        waited: Callable[[Lane, float], None] = lambda *_: None,
    ) -> None:
        self.limits = limits
        self.throughput = Throughput(clock)
        self.queued_rows = 0
        self.batches_done = 0
        self.cost_done = 0
        self._compute = compute
        self._clock = clock
        self._observe = observe
        self._mixed = mixed
        self._measured_as = measured_as
        self._waited = waited
        self._waiting: FairQueue[PendingRows[R, O]] = FairQueue()
        # In order of arrival; a request leaves with the last of its rows.
        self._since: dict[PendingRows[R, O], float] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._running_cost = 0

    @property
    def queued_cost(self) -> float:
        return self._waiting.cost

    @property
    def lane_costs(self) -> dict[Lane, float]:
        return self._waiting.lane_costs

    def oldest_wait_s(self) -> float:
        """Age of the oldest non-bulk request with rows still queued, seconds."""
        waiting = (since for work, since in self._since.items() if work.origin.lane != "bulk")
        now_s = self._clock()
        return now_s - next(waiting, now_s)

    async def submit(self, rows: R, timeout_s: float, origin: Origin) -> O:
        """The results of `rows`, in their order.

        Raises Overloaded at once when the queue is full or the work cannot be done in `timeout_s`,
        DeadlineExceeded when that passes before the engine starts on the last of it.
        """
        if not len(rows):
            raise ValueError("a request has at least one row")
        cost = int(rows.costs.sum())
        self._admit(cost, timeout_s, origin)
        answer: asyncio.Future[O] = asyncio.get_running_loop().create_future()
        work = PendingRows(
            rows, Deadline.after(timeout_s, self._clock), origin, answer, self._clock()
        )
        self._waiting.credit = _CREDIT_S * self.throughput.per_s
        self._waiting.push(work, cost, origin)
        self._since[work] = work.came_s
        self.queued_rows += len(rows)
        self._fill_slots()
        try:
            return await answer
        finally:
            self._forget(work)

    def _admit(self, cost: int, timeout_s: float, origin: Origin) -> None:
        until_done = self._waiting.cost_until_done(cost, origin)
        if until_done + self._running_cost <= cost:
            return  # an idle engine takes whatever comes
        # The last row waits for the whole of its batch.
        batch = min(self.queued_cost, self.full_batch_cost())
        wait_s = self.throughput.seconds_for(until_done + self._running_cost + batch)
        late_s = wait_s - TIME_TO_USE * timeout_s
        if late_s > 0:
            raise Overloaded(
                f"this stage would need about {wait_s:.1f} s for this and {timeout_s:.1f} s are"
                " left: try again shortly, send less, or allow more with deadline_ms",
                retry_after_s=late_s,
                unit_s=self.throughput.seconds_for(1 / self._waiting.share(origin)),
            )
        if until_done - cost > self.limits.max_queued_tokens:
            raise Overloaded(
                "this stage has more work waiting than it accepts: try again shortly",
                retry_after_s=wait_s or None,
            )

    def _fill_slots(self) -> None:
        takers = self.limits.slots  # the busy ones too, which will be free soon
        while len(self._running) < self.limits.slots and (batch := self._take_batch(takers)):
            takers -= 1
            self._running_cost += sum(one.cost for one in batch)
            task = asyncio.create_task(self._execute(batch, self.throughput.begin()))
            self._running.add(task)
            task.add_done_callback(self._free_slot)

    def _free_slot(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._fill_slots()

    def _take_batch(self, takers: int) -> list[RowSlice[R, O]]:
        batch: list[RowSlice[R, O]] = []
        rows, cost = self.limits.max_batch_rows, self._share_of_slot(takers)
        while rows and cost > 0 and self._waiting:
            work = self._waiting.head()
            if not self._is_wanted(work):
                self._forget(work)
                continue
            if batch and not self._mixed and work.origin != batch[0].request.origin:
                break
            fit = min(rows, work.fitting(cost))
            turn = max(1, min(fit, work.fitting(self.limits.turn_tokens)))
            if not fit and batch:
                break
            batch.append(self._take(work, turn))
            rows -= turn
            cost -= batch[-1].cost
        self._waiting.end_turn()
        return batch

    def _cost_in_time(self) -> float | None:
        """The cost that a slot computes in `max_batch_ms`; None without such a limit, and as long
        as nothing was measured."""
        limits, per_s = self.limits, self.throughput.per_s
        if limits.max_batch_ms is None or not per_s:
            return None
        return per_s / limits.slots * limits.max_batch_ms / 1000

    def full_batch_cost(self) -> int:
        """The cost of a full batch."""
        in_time, most = self._cost_in_time(), self.limits.max_batch_tokens
        return most if in_time is None else max(1, min(most, int(in_time)))

    def _share_of_slot(self, takers: int) -> int:
        """The cost of the next batch: an equal part of what waits for each of the `takers`.

        A slot that took all while another is busy would leave that one the few rows that come
        meanwhile, each at the cost of a batch.
        """
        full = self.full_batch_cost()
        if self._cost_in_time() is None:
            return full
        parts = min(takers, max(1, int(self.queued_cost / (_LEAST_SPREAD * full))))
        return min(full, ceil(self.queued_cost / parts))

    def _take(self, work: PendingRows[R, O], count: int) -> RowSlice[R, O]:
        taken = work.take(count)
        self.queued_rows -= count
        self._waiting.serve(taken.cost, leaves=not work.left, turn_ends=self._mixed)
        if not work.left:
            self._waited(work.origin.lane, self._clock() - self._since.pop(work))
        return taken

    def _forget(self, work: PendingRows[R, O]) -> None:
        """Take back rows that wait for nobody any more."""
        if self._since.pop(work, None) is not None:
            self.queued_rows -= work.left
            self._waiting.remove(work, work.left_cost, work.origin)

    def _is_wanted(self, work: PendingRows[R, O]) -> bool:
        if work.answer.done():
            return False
        # All that an engine has to do it tries, however slow it seems: so it is measured anew.
        is_all = len(self._since) == 1 and not self._running
        needs_s = 0.0 if is_all else self.throughput.seconds_for(work.left_cost)
        try:
            work.deadline.earlier(needs_s).left_s()
        except DeadlineExceeded as late:
            work.answer.set_exception(late)
            return False
        return True

    async def _execute(self, batch: list[RowSlice[R, O]], before: Work) -> None:
        cost = sum(one.cost for one in batch)
        began_s = self._clock()
        try:
            rows = concatenate(batch)
            results = await self._compute(rows)
        except BaseException as failure:  # every caller of the batch must hear of it
            self._running_cost -= cost
            self.throughput.fail()
            fail(batch, _to_tell(failure))
            if not isinstance(failure, Exception):
                raise
            return
        self._running_cost -= cost
        self.batches_done += 1
        self.cost_done += cost
        full = self._is_full(len(rows), cost)
        self.throughput.end(cost, before, saturated=full, more_waits=bool(self._waiting))
        took_s = self._clock() - began_s

        def measure(one: RowSlice[R, O]) -> BatchRun:
            waited_s = began_s - one.request.came_s
            return BatchRun(len(one.rows), len(rows), cost, waited_s, took_s, self._measured_as)

        hand_out(batch, results, measure if self._measured_as else None)
        self._observe(rows, results, took_s)

    def _is_full(self, rows: int, cost: int) -> bool:
        """True if the engine had about as much as it may be given: in this batch, in all slots."""
        limits = self.limits
        full = cost > self.full_batch_cost() // 2 or rows >= limits.max_batch_rows
        return full and len(self._running) >= limits.slots


def _to_tell(failure: BaseException) -> Exception:
    if isinstance(failure, Exception):
        return failure
    return StageUnavailable("this stage stopped computing the request: try again shortly")
