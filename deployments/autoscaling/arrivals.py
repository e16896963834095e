"""What arrives at one Router for each model stage: tokens a second, by lane.

A search is counted for the reranker when it begins, with as many tokens as its candidates are
likely to have, so that the reranker can grow while the queries are still being embedded. What a
candidate likely has is learnt from the searches before.

Pure: counts on a clock that is given.
"""

from collections import deque
from typing import Literal

from deployments.autoscaling.signals import Stats, arrivals_to_stats
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
    def __init__(self, clock: Clock) -> None:
        self._rates = {(stage, lane): Rate(clock) for stage in _STAGES for lane in LANES}
        self._tokens_per_candidate = 0.0

    def add(self, stage: Stage, lane: Lane, tokens: float) -> None:
        self._rates[stage, lane].add(tokens)

    def rerank_tokens(self, candidates: int) -> float:
        """How many a search with so many candidates is likely to have."""
        return candidates * self._tokens_per_candidate

    def search_begins(self, lane: Lane, candidates: int) -> None:
        """One that will be reranked."""
        self.add("rerank", lane, self.rerank_tokens(candidates))

    def search_reranked(self, candidates: int, tokens: int) -> None:
        """`candidates` were asked for, and what was found had so many `tokens`."""
        seen = tokens / candidates
        weight = _WEIGHT_OF_NEW if self._tokens_per_candidate else 1.0
        self._tokens_per_candidate += weight * (seen - self._tokens_per_candidate)

    def to_stats(self) -> Stats:
        stats: Stats = {}
        for stage in _STAGES:
            rates = {lane: self._rates[stage, lane].per_s() for lane in LANES}
            stats |= arrivals_to_stats(stage, rates)
        return stats
