"""Metrics that Ray does not already export: tokens, batches and store failures.

Create them inside a replica, so that Serve tags them with it. Ray's metrics port exports them with
the prefix `ray_`. The only module that knows Serve's metrics.
"""

from typing import Literal

from ray.serve import metrics

from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

Source = Literal["computed", "prefix_cache", "embedding_cache"]

_BATCH_TOKENS = [float(2**power) for power in range(5, 16)]
_BATCH_S = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]


class TokenMetrics:
    """Tokens of a stage, by the source of their results."""

    def __init__(self, stage: str) -> None:
        self._tokens = metrics.Counter(
            "winnow_tokens",
            "Tokens that a stage received, computed by the model or found in a cache",
            tag_keys=("stage", "source"),  # type: ignore[arg-type] # Ray annotates a tuple of one
        )
        self._stage = stage

    def add(self, tokens: int, source: Source) -> None:
        if tokens:
            self._tokens.inc(tokens, {"stage": self._stage, "source": source})


class TenantMetrics:
    """Tokens served to tenants: to the first `max_tenants` by name, and to the rest in sum.

    The bound is needed because every name is a time series that never ends.
    """

    def __init__(self, max_tenants: int = 200) -> None:
        self._tokens = metrics.Counter(
            "winnow_tenant_tokens",
            "Tokens that a tenant was served, by whether they were found in a cache",
            tag_keys=("tenant", "stage", "cached"),  # type: ignore[arg-type] # as above
        )
        self._max_tenants = max_tenants
        self._named: set[str] = set()

    def observe(self, tenant: str, stage: str, tokens: int, cached_tokens: int) -> None:
        if tenant not in self._named:
            if len(self._named) >= self._max_tenants:
                tenant = "(others)"
            self._named.add(tenant)
        for cached, count in (("no", tokens - cached_tokens), ("yes", cached_tokens)):
            if count:
                self._tokens.inc(count, {"tenant": tenant, "stage": stage, "cached": cached})


class FailureMetrics:
    """Times that a store was out of reach and the Router went on without it."""

    def __init__(self) -> None:
        self._failures = metrics.Counter(
            "winnow_store_failures",
            "Times that a store was out of reach: keys were not refreshed, or limits were local",
            tag_keys=("store",),
        )

    def count(self, store: Literal["control", "rates"]) -> None:
        self._failures.inc(1, {"store": store})


class BatchMetrics:
    """Sizes and durations of an engine's batches, and their tokens."""

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
            "Time that the engine took for a batch, in seconds",
            boundaries=_BATCH_S,
            tag_keys=("stage",),
        )
        self._tags = {"stage": stage}

    def observe(self, rows: TokenRows, output: ModelOutput, took_s: float) -> None:
        cached = int(output.cached_tokens.sum())
        self._tokens.add(rows.total_tokens - cached, "computed")
        self._tokens.add(cached, "prefix_cache")
        self._batch_tokens.observe(rows.total_tokens, self._tags)
        self._batch_s.observe(took_s, self._tags)
