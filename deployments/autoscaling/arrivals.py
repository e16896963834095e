"""Arrivals at one Router for each model stage: tokens a second, by lane.

A search is counted for the reranker when it begins, with as many tokens as its candidates are
likely to have, so that the reranker can grow while the queries are still being embedded; once the
real number is known, that counts instead. Tokens a candidate are learnt from the searches before.

Pure: counts on a clock that is given.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from deployments.autoscaling.signals import Stats, arrivals_to_stats
from deployments.ewma import Ewma
from deployments.request.deadline import Clock
from deployments.request.origin import LANES, Lane

Stage = Literal["embed", "rerank"]

_STAGES: tuple[Stage, ...] = ("embed", "rerank")
# What a rate is of. Longer would see a surge later, shorter would take chance for one.
WINDOW_S = 10
_WEIGHT_OF_NEW = 0.05


class Rate:
    """A sum a second, over the last `window_s` whole seconds or as many as there were."""

    def __init__(self, clock: Clock, window_s: int = WINDOW_S) -> None:
        self._clock = clock
        self._window_s = window_s
        self._began = clock()
        self._seconds: dict[int, float] = {}  # oldest first

    def add(self, amount: float) -> int:
        """Returns the second that it is counted in."""
        second = int(self._clock())
        self._seconds[second] = self._seconds.get(second, 0.0) + amount
        return second

    def take_back(self, amount: float, second: int) -> None:
        """Correct a second, if it still counts."""
        if second in self._seconds:
            self._seconds[second] -= amount

    def per_s(self) -> float:
        now = self._clock()
        while self._seconds and (oldest := next(iter(self._seconds))) < int(now) - self._window_s:
            del self._seconds[oldest]
        seen_s = min(now - self._began, self._window_s + now % 1)
        return sum(self._seconds.values()) / max(seen_s, 1.0)


class Arrivals:
    def __init__(self, clock: Clock) -> None:
        self._rates = {(stage, lane): Rate(clock) for stage in _STAGES for lane in LANES}
        self._tokens_per_candidate = Ewma(_WEIGHT_OF_NEW)

    def add(self, stage: Stage, lane: Lane, tokens: float) -> None:
        """Count work that a stage is asked for, whether it does it or refuses."""
        self._rates[stage, lane].add(tokens)

    def rerank_tokens(self, candidates: int) -> float:
        """Tokens that a search with so many candidates is likely to have."""
        return candidates * (self._tokens_per_candidate.value or 0.0)

    @contextmanager
    def expecting(self, lane: Lane, candidates: int) -> Iterator[None]:
        """Count a search for the reranker until it gets there, or is found not to."""
        rate, tokens = self._rates["rerank", lane], self.rerank_tokens(candidates)
        second = rate.add(tokens)
        try:
            yield
        finally:
            rate.take_back(tokens, second)

    def reranked(self, candidates: int, tokens: int) -> None:
        """Learn that a search for `candidates` found documents of so many `tokens`."""
        self._tokens_per_candidate.add(tokens / candidates)

    def to_stats(self) -> Stats:
        stats: Stats = {}
        for stage in _STAGES:
            rates = {lane: self._rates[stage, lane].per_s() for lane in LANES}
            stats |= arrivals_to_stats(stage, rates)
        return stats
