"""What replicas tell the autoscaler, as Serve carries it: a flat dict of numbers by name.

Pure: knows neither who measures nor who decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deployments.request.origin import LANES, Lane

Stats = dict[str, float]


@dataclass(frozen=True, slots=True)
class StageSignals:
    """One replica of a model stage: tokens that wait there by lane, how long the oldest request
    outside bulk has waited, and what its engine was measured to do (0: not yet)."""

    queued_tokens: Mapping[Lane, float]
    oldest_wait_s: float
    tokens_per_s: float

    def to_stats(self) -> Stats:
        queued = {f"queued_tokens_{lane}": float(self.queued_tokens[lane]) for lane in LANES}
        return queued | {"oldest_wait_s": self.oldest_wait_s, "tokens_per_s": self.tokens_per_s}

    @classmethod
    def from_stats(cls, stats: Mapping[str, float]) -> "StageSignals":
        """KeyError when one is missing."""
        queued = {lane: stats[f"queued_tokens_{lane}"] for lane in LANES}
        return cls(queued, stats["oldest_wait_s"], stats["tokens_per_s"])


def arrivals_to_stats(stage: str, tokens_per_s: Mapping[Lane, float]) -> Stats:
    """Of one Router: what arrives there for `stage`, by lane."""
    return {f"{stage}_{lane}_tokens_per_s": tokens_per_s[lane] for lane in LANES}


def arrivals_from_stats(stage: str, stats: Mapping[str, float]) -> dict[Lane, float]:
    """KeyError when one is missing."""
    return {lane: stats[f"{stage}_{lane}_tokens_per_s"] for lane in LANES}
