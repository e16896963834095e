"""Hedged calls: a call that takes far longer than usual is made again; its replica may be stuck.

After "The Tail at Scale" (Dean and Barroso, 2013): the first answer counts and the other calls are
cancelled. The wait before a hedge follows the usual time of a call, so that a stage that is slow
because it is full does not get twice the work, and a budget bounds the share of calls that are
hedged. A third try is for the second that met the same replica.

Where a stage has a `Pulse`, a call to its only replica is not made again, and one that nobody
answers ends when nobody answers a ping either. That is asked soon, since it costs little, and at
once while nobody answered the last ping.

Knows neither the call nor its stage.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from deployments.calls.pulse import Pulse
from deployments.errors import StageSilent, WinnowError
from deployments.request.deadline import Clock
from deployments.request.ewma import Ewma

T = TypeVar("T")

_LEAST_PATIENCE_S = 2.0
# Until the only replica of a stage is asked whether it is there.
_PINGED_AFTER_S = 1.0
_TIMES_THE_USUAL = 4.0
_WEIGHT_OF_NEW = 0.1
_BUDGET_PER_CALL = 0.1
_MOST_BUDGET = 10.0
_MOST_TRIES = 3


class Hedging:
    """Hedges calls of one kind to one stage; `most_tries` of 1 if none may be made again."""

    def __init__(
        self, clock: Clock, pulse: Pulse | None = None, most_tries: int = _MOST_TRIES
    ) -> None:
        self._clock = clock
        self._pulse = pulse
        self._most_tries = most_tries
        self._usual_s = Ewma(_WEIGHT_OF_NEW, 0.0)
        self._budget = _MOST_BUDGET

    @property
    def patience_s(self) -> float:
        """Seconds until a call is made again."""
        return max(_LEAST_PATIENCE_S, _TIMES_THE_USUAL * (self._usual_s.value or 0.0))

    async def first(self, call: Callable[[], Awaitable[T]]) -> T:
        """The first answer of up to three tries, be it an error of the request's own. Raises the
        error of one if all have failed, and StageSilent if the stage has no pulse."""
        began_s: dict[asyncio.Future[T], float] = {}
        began_s[asyncio.ensure_future(call())] = self._clock()
        try:
            while (first := _answered(began_s)) is None:
                if await _one_ends(began_s, self._pause_s()):
                    continue
                if self._may_try_again(len(began_s)):
                    self._budget -= 1
                    began_s[asyncio.ensure_future(call())] = self._clock()
                if self._pulse and await _is_silent(self._pulse, began_s):
                    raise StageSilent("no replica of a stage answers: try again shortly")
            answer = first.result()
            if self._pulse:
                self._pulse.answered()
        finally:
            for one in began_s:
                one.cancel()
        # Only the try that answered tells how long calls take: the wait for a stuck replica would
        # make all others wait longer for their hedge.
        self._usual_s.add(self._clock() - began_s[first])
        self._budget = min(_MOST_BUDGET, self._budget + _BUDGET_PER_CALL)
        return answer

    def _pause_s(self) -> float:
        if self._pulse is None or not self._pulse.is_alone():
            return self.patience_s
        return 0.0 if self._pulse.was_silent else _PINGED_AFTER_S

    def _may_try_again(self, tries: int) -> bool:
        if self._pulse and self._pulse.is_alone():
            return False
        return tries < self._most_tries and self._budget >= 1


async def _is_silent(pulse: Pulse, calls: Iterable[asyncio.Future[T]]) -> bool:
    """Ask, unless a call ends first."""
    asking = asyncio.ensure_future(pulse.is_silent())
    either: list[asyncio.Future[Any]] = [asking, *(one for one in calls if not one.done())]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if asking.done():
        return asking.result()
    asking.cancel()
    return False


async def _one_ends(calls: Iterable[asyncio.Future[T]], in_s: float) -> bool:
    under_way = [one for one in calls if not one.done()]
    ended, _ = await asyncio.wait(under_way, timeout=in_s, return_when=asyncio.FIRST_COMPLETED)
    return bool(ended)


def _answered(calls: Iterable[asyncio.Future[T]]) -> asyncio.Future[T] | None:
    """The call that succeeded, or was told what is wrong with it; a failed one if all have failed;
    None while there is hope."""
    ended = [one for one in calls if one.done()]
    for one in ended:
        failure = one.exception()
        if failure is None or (isinstance(failure, WinnowError) and failure.status < 500):
            return one
    return ended[0] if len(ended) == len(list(calls)) else None
