"""Arrival rates at one Router: tokens per second for each model stage, by lane.

A search is counted for the rerank stage when it begins, with the tokens that its candidates are
expected to have, so that the stage can grow while queries are still being embedded. The expected
tokens of a candidate are learned from earlier searches.

Pure: the clock is passed in. Knows no replica and no policy.
"""

from collections import deque
from typing import Literal, get_args

from deployments.autoscaling.signals import Stats, arrivals_to_stats
from deployments.request.deadline import Clock
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
        self._seconds: deque[tuple[int, float]] = deque()

    def add(self, amount: float) -> None:
        second = int(self._clock())
        if self._seconds and self._seconds[-1][0] == second:
            amount += self._seconds.pop()[1]
        self._seconds.append((second, amount))

    def per_s(self) -> float:
        now = self._clock()
        while self._seconds and self._seconds[0][0] < int(now) - self._window_s:
            self._seconds.popleft()
        seen_s = min(now - self._began, self._window_s + now % 1)
        return sum(amount for _, amount in self._seconds) / max(seen_s, 1.0)


class Arrivals:
    """Counts arriving tokens by stage and lane, and learns the tokens of a search candidate."""

    def __init__(self, clock: Clock) -> None:
        self._rates = {(stage, lane): Rate(clock) for stage in _STAGES for lane in LANES}
        self._tokens_per_candidate = 0.0

    def add(self, stage: Stage, lane: Lane, tokens: float) -> None:
        self._rates[stage, lane].add(tokens)

    def rerank_tokens(self, candidates: int) -> float:
        """Return the expected tokens of a search with so many candidates; 0 before the first."""
        return candidates * self._tokens_per_candidate

    def search_begins(self, lane: Lane, candidates: int) -> None:
        """Count a search that will be reranked, by its expected tokens."""
        self.add("rerank", lane, self.rerank_tokens(candidates))

    def search_reranked(self, candidates: int, tokens: int) -> None:
        """Learn from a search: `candidates` were asked for, those found had `tokens` in all."""
        per_candidate = tokens / candidates
        weight = _EWMA_WEIGHT if self._tokens_per_candidate else 1.0
        self._tokens_per_candidate += weight * (per_candidate - self._tokens_per_candidate)

    def to_stats(self) -> Stats:
        stats: Stats = {}
        for stage in _STAGES:
            rates = {lane: self._rates[stage, lane].per_s() for lane in LANES}
            stats |= arrivals_to_stats(stage, rates)
        return stats
