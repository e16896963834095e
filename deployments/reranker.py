"""The Reranker deployment: rows of (query, document) tokens in, relevance scores out.

Each replica owns one engine and one queue. Knows neither text (but for its golden check) nor
tenants' rights nor HTTP.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deployments.batching.halves import Compute
from deployments.batching.model_replica import Answers, ModelReplica
from deployments.config import RerankerConfig
from deployments.engine.golden import bypass_prefix_cache
from deployments.errors import WinnowError
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from deployments.text.tokenizer import RerankEncoder
from deployments.text.tokenizer_files import load_tokenizer


class Reranker(ModelReplica):
    async def __init__(self, config: RerankerConfig) -> None:  # type: ignore[misc] # Serve awaits it
        await self.start("rerank", config, lambda engine: engine.score, partial(_golden, config))

    async def rerank(
        self, rows: TokenRows, timeout_s: float, origin: Origin, contract: str
    ) -> ModelOutput | WinnowError:
        """Relevance in [0, 1], float32 [rows]; errors are those of `submit`."""
        computed = await self.submit(rows, timeout_s, origin, contract)
        if isinstance(computed, WinnowError):
            return computed
        return replace(computed, values=relevance(computed.values))


def relevance(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sigmoid of the logits, float32; NaN for a logit that is not finite.

    For Qwen3-Reranker the logit is logit(yes) - logit(no), so this is softmax over the two, as on
    its model card; for a cross-encoder it is the usual map of its one logit to [0, 1].
    """
    wide = np.where(np.isfinite(logits), logits, np.nan).astype(np.float64)
    return (1.0 / (1.0 + np.exp(-np.clip(wide, -80, 80)))).astype(np.float32)


def _golden(config: RerankerConfig, directory: Path) -> Answers:
    """The relevance scores of the golden pairs."""
    encoder = RerankEncoder(load_tokenizer(directory), config.template, config.engine.max_model_len)
    rows = TokenRows.concatenate(
        [encoder.pairs(golden.query, [golden.document], None).rows for golden in config.golden]
    )

    async def answers(score: Compute) -> list[float]:
        scores: list[float] = relevance((await score(bypass_prefix_cache(rows))).values).tolist()
        return scores

    return answers
