"""The signals that replicas send the autoscaler, as Serve carries them: numbers by name.

Pure: knows neither what measures them nor the policy.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deployments.request.origin import LANES, Lane

Stats = dict[str, float]


@dataclass(frozen=True, slots=True)
class StageSignals:
    """The state of one replica of a model stage.

    `oldest_wait_s` is the age of the oldest waiting request outside bulk. `tokens_per_s` is the
    engine's measured throughput, 0 before the first measurement.
    """

    queued_tokens: Mapping[Lane, float]
    oldest_wait_s: float
    tokens_per_s: float

    def to_stats(self) -> Stats:
        queued = {f"queued_tokens_{lane}": float(self.queued_tokens[lane]) for lane in LANES}
        return queued | {"oldest_wait_s": self.oldest_wait_s, "tokens_per_s": self.tokens_per_s}

    @classmethod
    def from_stats(cls, stats: Mapping[str, float]) -> "StageSignals":
        """Read the signals. Raises KeyError if one is missing."""
        queued = {lane: stats[f"queued_tokens_{lane}"] for lane in LANES}
        return cls(queued, stats["oldest_wait_s"], stats["tokens_per_s"])


def arrivals_to_stats(stage: str, tokens_per_s: Mapping[Lane, float]) -> Stats:
    """Name one Router's arrival rates for `stage`, by lane."""
    return {f"{stage}_{lane}_tokens_per_s": tokens_per_s[lane] for lane in LANES}


def arrivals_from_stats(stage: str, stats: Mapping[str, float]) -> dict[Lane, float]:
    """Read a Router's arrival rates. Raises KeyError if one is missing."""
    return {lane: stats[f"{stage}_{lane}_tokens_per_s"] for lane in LANES}
