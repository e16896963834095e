"""Small requests of one tenant share a call to the next stage.

A call between replicas costs about as much whether it carries one row or fifty. At most
`calls_at_once` calls of one origin are under way; what arrives meanwhile waits a moment and goes
together in the next. An origin's first requests go at once, so nothing waits when little goes on.

Knows no Ray: the call is a coroutine that is given.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deployments.deadline import Deadline
from deployments.fair_queue import Origin
from deployments.stage import Embeddings
from deployments.token_rows import TokenRows

Call = Callable[[TokenRows, Deadline, Origin], Awaitable[Embeddings]]


@dataclass(frozen=True, slots=True)
class _Request:
    rows: TokenRows
    deadline: Deadline
    answer: asyncio.Future[Embeddings]


@dataclass(slots=True)
class _Line:
    waiting: deque[_Request] = field(default_factory=deque)
    under_way: int = 0


class Coalescer:
    def __init__(self, call: Call, calls_at_once: int, max_tokens: int) -> None:
        self._call = call
        self._calls_at_once = calls_at_once
        self._max_tokens = max_tokens
        self._lines: dict[Origin, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> Embeddings:
        """The embeddings of `rows`; raises what the call raises."""
        line = self._lines.setdefault(origin, _Line())
        answer: asyncio.Future[Embeddings] = asyncio.get_running_loop().create_future()
        line.waiting.append(_Request(rows, deadline, answer))
        self._send(origin, line)
        return await answer

    def _send(self, origin: Origin, line: _Line) -> None:
        while line.under_way < self._calls_at_once and (together := self._take(line)):
            line.under_way += 1
            task = asyncio.create_task(self._carry(together, origin, line))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if not line.under_way:
            del self._lines[origin]

    def _take(self, line: _Line) -> list[_Request]:
        together: list[_Request] = []
        tokens = 0
        while line.waiting:
            if line.waiting[0].answer.done():
                line.waiting.popleft()
                continue
            tokens += line.waiting[0].rows.total_tokens
            if together and tokens > self._max_tokens:
                break
            together.append(line.waiting.popleft())
        return together

    async def _carry(self, together: list[_Request], origin: Origin, line: _Line) -> None:
        try:
            rows = TokenRows.concatenate([request.rows for request in together])
            latest = max((request.deadline for request in together), key=lambda one: one.at_s)
            call = asyncio.ensure_future(self._call(rows, latest, origin))
            self._cancel_with(together, call)
            embeddings = await call
        except asyncio.CancelledError:
            for request in together:
                request.answer.cancel()
        except Exception as failure:  # every request that shares the call must hear of it
            for request in together:
                if not request.answer.done():
                    request.answer.set_exception(failure)
        else:
            _hand_out(together, embeddings)
        finally:
            line.under_way -= 1
            self._send(origin, line)

    @staticmethod
    def _cancel_with(together: list[_Request], call: asyncio.Future[Embeddings]) -> None:
        """When every caller is gone, so is the call."""
        left = len(together)

        def one_is_done(answer: asyncio.Future[Embeddings]) -> None:
            nonlocal left
            left -= answer.cancelled()
            if not left:
                call.cancel()

        for request in together:
            request.answer.add_done_callback(one_is_done)


def _hand_out(together: list[_Request], embeddings: Embeddings) -> None:
    end = 0
    for request in together:
        start, end = end, end + len(request.rows)
        vectors: NDArray[np.float32] = embeddings.vectors[start:end]
        if not request.answer.done():
            request.answer.set_result(Embeddings(vectors, embeddings.fingerprint))
