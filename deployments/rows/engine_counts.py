"""Counts of an engine while it computed, by vLLM's own statistics. Knows no vLLM."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineCounts:
    """Sums over the engine's `steps`, and the highest that any of them left behind.

    Summed are `prompt_tokens`, the tokens that were looked up in the prefix cache and those found
    there, and how often a request was preempted for want of KV cache. `running` and `waiting` are
    requests, `kv_cache_usage` is a share from 0 to 1: a batch that one step computes leaves none.
    """

    steps: int = 0
    prompt_tokens: int = 0
    prefix_cache_queries: int = 0
    prefix_cache_hits: int = 0
    preemptions: int = 0
    running: int = 0
    waiting: int = 0
    kv_cache_usage: float = 0.0

    def __add__(self, other: "EngineCounts") -> "EngineCounts":
        return EngineCounts(
            self.steps + other.steps,
            self.prompt_tokens + other.prompt_tokens,
            self.prefix_cache_queries + other.prefix_cache_queries,
            self.prefix_cache_hits + other.prefix_cache_hits,
            self.preemptions + other.preemptions,
            max(self.running, other.running),
            max(self.waiting, other.waiting),
            max(self.kv_cache_usage, other.kv_cache_usage),
        )


def total(counts: Iterable[EngineCounts | None]) -> EngineCounts | None:
    """All of them together; None if nothing was counted."""
    counted = [one for one in counts if one is not None]
    return sum(counted, EngineCounts()) if counted else None
