"""Further tries at a call that takes far longer than such calls do: its replica may be stuck.

After "The Tail at Scale" (Dean and Barroso, 2013): the first answer counts and the other calls are
cancelled. What is far longer follows from how long calls take, so that a stage that is slow because
it is full does not get twice the work; and only a small share of calls is ever made again. A third
try is for the second that met the same replica.

Knows neither what is called nor how.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from deployments.request.deadline import Clock

T = TypeVar("T")

_LEAST_PATIENCE_S = 2.0
_TIMES_THE_USUAL = 4.0
_SMOOTHING = 0.1
_SHARE = 0.1
_MOST_IN_A_ROW = 10.0
_MOST_TRIES = 3


class Hedging:
    """Of the calls of one kind to one stage."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._usual_s = 0.0
        self._allowance = _MOST_IN_A_ROW

    @property
    def patience_s(self) -> float:
        return max(_LEAST_PATIENCE_S, _TIMES_THE_USUAL * self._usual_s)

    async def first(self, call: Callable[[], Awaitable[T]]) -> T:
        """What the first of the tries answers; what one raises, if none answers."""
        began_s: dict[asyncio.Future[T], float] = {}
        began_s[asyncio.ensure_future(call())] = self._clock()
        try:
            while len(began_s) < _MOST_TRIES and not await _one_ends(began_s, self.patience_s):
                if self._allowance >= 1:
                    self._allowance -= 1
                    began_s[asyncio.ensure_future(call())] = self._clock()
            first = await _first_to_answer(began_s)
            answer = first.result()
        finally:
            for one in began_s:
                one.cancel()
        # What was waited for a stuck replica is not how long calls take: it would make all others
        # wait longer for the next one.
        self._note(self._clock() - began_s[first])
        return answer

    def _note(self, took_s: float) -> None:
        self._usual_s += _SMOOTHING * (took_s - self._usual_s)
        self._allowance = min(_MOST_IN_A_ROW, self._allowance + _SHARE)


async def _one_ends(calls: Iterable[asyncio.Future[T]], in_s: float) -> bool:
    ended, _ = await asyncio.wait(calls, timeout=in_s, return_when=asyncio.FIRST_COMPLETED)
    return bool(ended)


async def _first_to_answer(calls: Iterable[asyncio.Future[T]]) -> asyncio.Future[T]:
    """If none does, one that has failed."""
    pending = set(calls)
    while True:
        ended, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        answered = [one for one in ended if one.exception() is None]
        if answered or not pending:
            return (answered or list(ended))[0]
