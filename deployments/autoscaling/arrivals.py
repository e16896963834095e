"""Arrival rates at one Router: tokens per second for each model stage, by lane.

A search is counted for the rerank stage when it begins, with the tokens that its candidates are
expected to have, so that the stage can grow while queries are still being embedded. Once the real
number is known, it counts instead. The tokens of a candidate are learned from earlier searches.

Pure: the clock is passed in. Knows no replica and no policy.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from deployments.autoscaling.signals import Stats, arrivals_to_stats
from deployments.request.deadline import Clock
from deployments.request.ewma import Ewma
from deployments.request.origin import LANES, Lane

Stage = Literal["embed", "rerank"]

_STAGES: tuple[Stage, ...] = get_args(Stage)
# The window of a rate: a longer one sees a surge later, a shorter one takes noise for one.
WINDOW_S = 10
_EWMA_WEIGHT = 0.05


class Rate:
    """A rate per second, over the last `window_s` seconds or the time since its creation."""

    def __init__(self, clock: Clock, window_s: int = WINDOW_S) -> None:
        self._clock = clock
        self._window_s = window_s
        self._began = clock()
        self._seconds: dict[int, float] = {}  # oldest first

    def add(self, amount: float) -> int:
        """Add an amount. Return the second in which it is counted."""
        second = int(self._clock())
        self._forget(second)
        self._seconds[second] = self._seconds.get(second, 0.0) + amount
        return second

    def take_back(self, amount: float, second: int) -> None:
        """Subtract an amount from its second, if that is still in the window."""
        if second in self._seconds:
            self._seconds[second] -= amount

    def per_s(self) -> float:
        now = self._clock()
        self._forget(int(now))
        seen_s = min(now - self._began, self._window_s + now % 1)
        # Amounts that were taken back may leave a rounding error below 0.
        return max(0.0, sum(self._seconds.values())) / max(seen_s, 1.0)

    def _forget(self, second: int) -> None:
        while self._seconds and (oldest := next(iter(self._seconds))) < second - self._window_s:
            del self._seconds[oldest]


class Arrivals:
    """Counts arriving tokens by stage and lane, and learns the tokens of a search candidate."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._rates = {(stage, lane): Rate(clock) for stage in _STAGES for lane in LANES}
        self._tokens_per_candidate = Ewma(_EWMA_WEIGHT)

    def add(self, stage: Stage, lane: Lane, tokens: float) -> None:
        """Count work that a stage is asked for, even if it refuses it."""
        self._rates[stage, lane].add(tokens)

    def rerank_tokens(self, candidates: int) -> float:
        """Return the expected tokens of a search with so many candidates; 0 before the first."""
        return candidates * (self._tokens_per_candidate.value or 0.0)

    @contextmanager
    def expecting(self, lane: Lane, candidates: int) -> Iterator[None]:
        """Count a search by its expected tokens, until the real ones are counted or it ends."""
        rate, tokens = self._rates["rerank", lane], self.rerank_tokens(candidates)
        second = rate.add(tokens)
        try:
            yield
        finally:
            rate.take_back(tokens, second)

    def reranked(self, candidates: int, tokens: int) -> None:
        """Learn from a search: `candidates` were asked for, those found had `tokens` in all."""
        self._tokens_per_candidate.add(tokens / candidates)

    def to_stats(self) -> Stats:
        stats: Stats = {}
        for stage in _STAGES:
            rates = {lane: self._rates[stage, lane].per_s() for lane in LANES}
            stats |= arrivals_to_stats(stage, rates)
        return stats
