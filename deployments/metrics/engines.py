"""Metrics of what vLLM counts in the engines of a replica.

The names are those that vLLM exports from a server of its own (its steps have none), and Ray
Serve's LLM deployments from theirs. Engines run where Ray's metrics cannot be reached: their counts
come with the batches.
"""

from ray.serve import metrics

from deployments.metrics.tally import Tally
from deployments.rows.engine_counts import EngineCounts

_LABELS = ("stage",)
# By the field of EngineCounts.
_SUMS = {
    "steps": ("vllm_engine_steps", "Steps of the engines"),
    "prompt_tokens": (
        "vllm_prompt_tokens",
        "Tokens of prompts, with those found in the prefix cache",
    ),
    "prefix_cache_queries": (
        "vllm_prefix_cache_queries",
        "Tokens that were looked up in the prefix cache",
    ),
    "prefix_cache_hits": (
        "vllm_prefix_cache_hits",
        "Tokens that were found in the prefix cache",
    ),
    "preemptions": ("vllm_num_preemptions", "Requests preempted for want of KV cache"),
}
_HIGHEST = {
    "running": ("vllm_num_requests_running", "Requests that a step left unfinished, at most"),
    "waiting": ("vllm_num_requests_waiting", "Requests that a step left to wait, at most"),
    "kv_cache_usage": (
        "vllm_kv_cache_usage_perc",
        "Share of the KV cache that a step left in use, at most",
    ),
}


class EngineMetrics:
    """`add` after each batch, `report` every few seconds."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._counts = EngineCounts()
        self._sums = {field: Tally(*named, _LABELS) for field, named in _SUMS.items()}
        self._highest = {field: _gauge(*named) for field, named in _HIGHEST.items()}
        for tally in self._sums.values():
            tally.begin((stage,))

    def add(self, counts: EngineCounts | None) -> None:
        if counts is not None:
            self._counts += counts

    def report(self) -> None:
        """Hand over what was added since the last time."""
        counts, self._counts = self._counts, EngineCounts()
        for field, tally in self._sums.items():
            tally.add((self._stage,), getattr(counts, field))
            tally.flush()
        for field, gauge in self._highest.items():
            gauge.set(getattr(counts, field), {"stage": self._stage})


def _gauge(name: str, description: str) -> metrics.Gauge:
    return metrics.Gauge(name, description, tag_keys=_LABELS)
