"""Rows of many requests into calls to a stage.

A call between replicas costs about as much whether it carries one row or fifty, and a replica is
chosen by how many calls it has. So small requests of one origin share a call and a large one is cut
into several: calls are about equal, which spreads work over the replicas and not only requests.

A call that is full goes at once. Less goes at once too while the origin has fewer than
`calls_at_once` under way, and else waits for one to return (Nagle's rule, RFC 896), but not for
long, since calls to a busy stage return late: nothing waits when little goes on.

Knows no Ray: the call is a coroutine that is given.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Generic

from deployments.request.deadline import Deadline
from deployments.request.origin import Origin
from deployments.rows.row_slices import O, PendingRows, R, RowSlice, concatenate, fail, hand_out

_LONGEST_WAIT_S = 0.005


@dataclass(slots=True)
class _Line(Generic[R, O]):
    """One origin's requests that wait, the timer that sends them at the latest, and how many of its
    calls are under way."""

    waiting: deque[PendingRows[R, O]] = field(default_factory=deque)
    under_way: int = 0
    timer: asyncio.TimerHandle | None = None

    def drop_gone(self) -> None:
        self.waiting = deque(one for one in self.waiting if not one.answer.done())

    def cost(self) -> int:
        return sum(request.left_cost for request in self.waiting)


class CallBatches(Generic[R, O]):
    """`call_cost` is the most that a call carries, unless one row alone costs more."""

    def __init__(
        self,
        call: Callable[[R, Deadline, Origin], Awaitable[O]],
        calls_at_once: int,
        call_cost: int,
    ) -> None:
        self._call = call
        self._calls_at_once = calls_at_once
        self._call_cost = call_cost
        self._lines: dict[Origin, _Line[R, O]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, rows: R, deadline: Deadline, origin: Origin) -> O:
        """The results of `rows`, at least one; raises what the call raises."""
        if not len(rows):
            raise ValueError("a request has at least one row")
        line = self._lines.setdefault(origin, _Line())
        answer: asyncio.Future[O] = asyncio.get_running_loop().create_future()
        line.waiting.append(PendingRows(rows, deadline, origin, answer))
        self._send(origin, line)
        return await answer

    def _send(self, origin: Origin, line: _Line[R, O], *, in_time: bool = True) -> None:
        line.drop_gone()
        cost = line.cost()
        may_go = line.under_way < self._calls_at_once or not in_time
        if cost >= self._call_cost or (line.waiting and may_go):
            share = math.ceil(cost / max(1, math.ceil(cost / self._call_cost)))
            while line.waiting:
                self._start(_take(line.waiting, share, self._call_cost), origin, line)
        self._set_timer(origin, line)
        if not line.under_way and not line.waiting:
            self._lines.pop(origin, None)

    def _set_timer(self, origin: Origin, line: _Line[R, O]) -> None:
        if line.timer and not line.waiting:
            line.timer.cancel()
            line.timer = None
        elif line.waiting and not line.timer:
            later = asyncio.get_running_loop().call_later
            line.timer = later(_LONGEST_WAIT_S, self._time_is_up, origin, line)

    def _time_is_up(self, origin: Origin, line: _Line[R, O]) -> None:
        line.timer = None
        self._send(origin, line, in_time=False)

    def _start(self, items: list[RowSlice[R, O]], origin: Origin, line: _Line[R, O]) -> None:
        line.under_way += 1
        # In no request's context: Serve would end the call for all when that one's client is gone.
        task = asyncio.create_task(self._carry(items, origin, line), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, items: list[RowSlice[R, O]], origin: Origin, line: _Line[R, O]) -> None:
        try:
            latest = max((item.request.deadline for item in items), key=lambda one: one.at_s)
            call = asyncio.ensure_future(self._call(concatenate(items), latest, origin))
            _cancel_with(items, call)
            results = await call
        except asyncio.CancelledError:
            for item in items:
                item.request.answer.cancel()
        except Exception as failure:  # every request that shares the call must hear of it
            fail(items, failure)
        else:
            hand_out(items, results)
        finally:
            line.under_way -= 1
            self._send(origin, line)


def _take(waiting: deque[PendingRows[R, O]], share: int, most: int) -> list[RowSlice[R, O]]:
    """The first rows that wait which cost about `share`, at most `most`. A request that one call
    can hold is not cut: half of it is of no use when the other half is refused."""
    items: list[RowSlice[R, O]] = []
    left = share
    while waiting and left > 0:
        request = waiting[0]
        if request.left_cost <= most:
            if items and request.left_cost > left:
                break
            items.append(request.take(request.left))
        else:
            fit = min(request.fitting(left), request.left)
            if not fit and items:
                break
            items.append(request.take(max(1, fit)))
        left -= items[-1].cost
        if not request.left:
            waiting.popleft()
    return items


def _cancel_with(items: list[RowSlice[R, O]], call: asyncio.Future[O]) -> None:
    """End the call when no caller waits for it any more."""
    left = len(items)

    def one_is_done(answer: asyncio.Future[O]) -> None:
        nonlocal left
        left -= answer.cancelled() or answer.exception() is not None
        if not left:
            call.cancel()

    for item in items:
        item.request.answer.add_done_callback(one_is_done)
