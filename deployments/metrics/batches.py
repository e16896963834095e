"""Sizes and durations of an engine's batches, their tokens, and how full they are."""

from ray.serve import metrics

from deployments.metrics.tokens import TokenMetrics
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

_BATCH_TOKENS = [float(2**power) for power in range(5, 16)]
_BATCH_S = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]


class BatchMetrics:
    """Fill is tokens over capacity: what the batch could have held when it was formed."""

    def __init__(self, stage: str) -> None:
        self._tokens = TokenMetrics(stage)
        self._capacity = metrics.Counter(
            "winnow_batch_capacity_tokens",
            "Tokens that batches could have held",
            tag_keys=("stage",),
        )
        self._batch_tokens = metrics.Histogram(
            "winnow_batch_tokens",
            "Tokens in a batch",
            boundaries=_BATCH_TOKENS,
            tag_keys=("stage",),
        )
        self._batch_s = metrics.Histogram(
            "winnow_batch_seconds",
            "Time that the engine took for a batch, in seconds",
            boundaries=_BATCH_S,
            tag_keys=("stage",),
        )
        self._tags = {"stage": stage}

    def observe(
        self, rows: TokenRows, output: ModelOutput, took_s: float, capacity_tokens: int
    ) -> None:
        cached = int(output.cached_tokens.sum())
        self._tokens.add(rows.total_tokens - cached, "computed")
        self._tokens.add(cached, "prefix_cache")
        # A row that alone is longer than a batch may be is one all the same.
        self._capacity.inc(max(capacity_tokens, rows.total_tokens), self._tags)
        self._batch_tokens.observe(rows.total_tokens, self._tags)
        self._batch_s.observe(took_s, self._tags)
