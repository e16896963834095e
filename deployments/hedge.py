"""A second try at a call that takes far longer than such calls do: its replica may be stuck.

After "The Tail at Scale" (Dean and Barroso, 2013): the first answer counts and the other call is
cancelled. What is far longer follows from how long calls take, so that a stage that is slow because
it is full does not get twice the work; and only a small share of calls is ever made twice.

Knows neither what is called nor how.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from deployments.deadline import Clock

T = TypeVar("T")

_LEAST_PATIENCE_S = 2.0
_TIMES_THE_USUAL = 4.0
_SMOOTHING = 0.1
_SHARE = 0.1
_MOST_IN_A_ROW = 10.0


class Hedge:
    """Of the calls of one kind to one stage."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._usual_s = 0.0
        self._allowance = _MOST_IN_A_ROW

    @property
    def patience_s(self) -> float:
        return max(_LEAST_PATIENCE_S, _TIMES_THE_USUAL * self._usual_s)

    async def first(self, call: Callable[[], Awaitable[T]]) -> T:
        """What the first of at most two calls answers or raises."""
        began_s = self._clock()
        calls = {asyncio.ensure_future(call())}
        try:
            ended, _ = await asyncio.wait(calls, timeout=self.patience_s)
            if not ended and self._allowance >= 1:
                self._allowance -= 1
                calls.add(asyncio.ensure_future(call()))
            if not ended:
                ended, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            answer = ended.pop().result()
        finally:
            for one in calls:
                one.cancel()
        self._note(self._clock() - began_s)
        return answer

    def _note(self, took_s: float) -> None:
        self._usual_s += _SMOOTHING * (took_s - self._usual_s)
        self._allowance = min(_MOST_IN_A_ROW, self._allowance + _SHARE)
