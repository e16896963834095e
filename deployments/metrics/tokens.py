"""Tokens of a stage, by where their results come from."""

from typing import Literal

from ray.serve import metrics

Source = Literal["computed", "prefix_cache", "embedding_cache"]


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
