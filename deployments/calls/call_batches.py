"""Rows of many requests into calls to a stage.

A call between replicas costs about as much whether it carries one row or fifty, and a replica is
chosen by how many calls it has. So small requests of one origin share a call and a large one is cut
into several: calls are about equal, which spreads tokens over the replicas and not only requests.

What fills a call goes at once. Less than that goes at once too while the origin has fewer than
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

from deployments.request.deadline import Deadline
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.row_slices import PendingRows, RowSlice, fail, hand_out
from deployments.rows.token_rows import TokenRows

Call = Callable[[TokenRows, Deadline, Origin], Awaitable[ModelOutput]]

_LONGEST_WAIT_S = 0.02


@dataclass(slots=True)
class _Line:
    """What waits of one origin and until when at most, and how many calls it has under way."""

    waiting: deque[PendingRows] = field(default_factory=deque)
    under_way: int = 0
    timer: asyncio.TimerHandle | None = None

    def drop_gone(self) -> None:
        self.waiting = deque(one for one in self.waiting if not one.answer.done())

    def tokens(self) -> int:
        return sum(request.left_tokens for request in self.waiting)


class CallBatches:
    def __init__(self, call: Call, calls_at_once: int, call_tokens: int) -> None:
        self._call = call
        self._calls_at_once = calls_at_once
        self._call_tokens = call_tokens
        self._lines: dict[Origin, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:
        """The results of `rows`; raises what the call raises."""
        line = self._lines.setdefault(origin, _Line())
        answer: asyncio.Future[ModelOutput] = asyncio.get_running_loop().create_future()
        line.waiting.append(PendingRows(rows, deadline, answer))
        self._send(origin, line)
        return await answer

    def _send(self, origin: Origin, line: _Line, *, in_time: bool = True) -> None:
        line.drop_gone()
        tokens = line.tokens()
        may_go = line.under_way < self._calls_at_once or not in_time
        if tokens >= self._call_tokens or (tokens and may_go):
            share = math.ceil(tokens / math.ceil(tokens / self._call_tokens))
            while line.waiting:
                self._start(_take(line, share, self._call_tokens), origin, line)
        self._set_timer(origin, line)
        if not line.under_way and not line.waiting:
            self._lines.pop(origin, None)

    def _set_timer(self, origin: Origin, line: _Line) -> None:
        if line.timer and not line.waiting:
            line.timer.cancel()
            line.timer = None
        elif line.waiting and not line.timer:
            later = asyncio.get_running_loop().call_later
            line.timer = later(_LONGEST_WAIT_S, self._time_is_up, origin, line)

    def _time_is_up(self, origin: Origin, line: _Line) -> None:
        line.timer = None
        self._send(origin, line, in_time=False)

    def _start(self, items: list[RowSlice], origin: Origin, line: _Line) -> None:
        line.under_way += 1
        # In no request's context: Serve would end the call for all when that one's client is gone.
        task = asyncio.create_task(self._carry(items, origin, line), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, items: list[RowSlice], origin: Origin, line: _Line) -> None:
        try:
            rows = TokenRows.concatenate([item.rows for item in items])
            latest = max((item.request.deadline for item in items), key=lambda one: one.at_s)
            call = asyncio.ensure_future(self._call(rows, latest, origin))
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


def _take(line: _Line, share: int, most: int) -> list[RowSlice]:
    """The first rows of what waits that make about `share` tokens, or all of it. What one call can
    hold, up to `most`, is not cut: half a request is of no use when the other half is refused."""
    items: list[RowSlice] = []
    while line.waiting and share > 0:
        request = line.waiting[0]
        whole = request.left_tokens <= most
        if whole and items and request.left_tokens > share:
            break
        portion = request.take(
            request.left if whole else min(request.left, request.fitting(share - 1) + 1)
        )
        items.append(portion)
        share -= portion.rows.total_tokens
        if not request.left:
            line.waiting.popleft()
    return items


def _cancel_with(items: list[RowSlice], call: asyncio.Future[ModelOutput]) -> None:
    """When no caller waits for it any more, the call ends."""
    left = len(items)

    def one_is_done(answer: asyncio.Future[ModelOutput]) -> None:
        nonlocal left
        left -= answer.cancelled() or answer.exception() is not None
        if not left:
            call.cancel()

    for item in items:
        item.request.answer.add_done_callback(one_is_done)
