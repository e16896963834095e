"""The few metrics that Ray does not already have: tokens, and how full batches are.

Made inside a replica, which Serve's tags then name. Exported on Ray's metrics port with `ray_`
before the name. The only module that knows Serve's metrics.
"""

from typing import Literal

from ray.serve import metrics

from deployments.batcher import Batch

Source = Literal["computed", "prefix_cache", "embedding_cache"]

_BATCH_TOKENS = [float(2**power) for power in range(5, 16)]
_BATCH_S = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]


class TokenMetrics:
    """Tokens of a stage, by where their results came from."""

    def __init__(self, stage: str) -> None:
        self._tokens = metrics.Counter(
            "winnow_tokens",
            "Tokens that a stage was given, computed by the model or spared it by a cache",
            tag_keys=("stage", "source"),  # type: ignore[arg-type] # Ray means any number of them
        )
        self._stage = stage

    def add(self, tokens: int, source: Source) -> None:
        if tokens:
            self._tokens.inc(tokens, {"stage": self._stage, "source": source})


class BatchMetrics:
    """Batches of an engine."""

    def __init__(self, stage: str) -> None:
        self._tokens = TokenMetrics(stage)
        self._batch_tokens = metrics.Histogram(
            "winnow_batch_tokens",
            "Tokens in a batch",
            boundaries=_BATCH_TOKENS,
            tag_keys=("stage",),
        )
        self._batch_s = metrics.Histogram(
            "winnow_batch_seconds",
            "How long the engine took for a batch, in seconds",
            boundaries=_BATCH_S,
            tag_keys=("stage",),
        )
        self._tags = {"stage": stage}

    def observe(self, batch: Batch) -> None:
        self._tokens.add(batch.tokens - batch.cached_tokens, "computed")
        self._tokens.add(batch.cached_tokens, "prefix_cache")
        self._batch_tokens.observe(batch.tokens, self._tags)
        self._batch_s.observe(batch.took_s, self._tags)
