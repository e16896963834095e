"""The Reranker deployment: rows of (query, document) tokens in, relevance scores out.

Each replica owns one engine and one queue. Knows neither text (but for its golden check) nor
tenants nor HTTP.
"""

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.batcher import Batcher, BatchLimits
from deployments.checkpoint import locate, weights_digest
from deployments.configs import RerankerConfig
from deployments.engine.base import PoolingEngine
from deployments.engine.build import build_engine
from deployments.golden import check_golden
from deployments.stage import StageStatus
from deployments.token_rows import TokenRows
from deployments.tokenizer import RerankEncoder, load_tokenizer


class Reranker:
    async def __init__(self, config: RerankerConfig) -> None:  # type: ignore[misc] # Serve awaits it
        directory = locate(config.engine.model, config.engine.revision, weights=True)
        engine_config = config.engine.model_copy(update={"model": str(directory)})
        self._config = config
        self._fingerprint = fingerprint(config, directory)
        self._engine = await build_engine(engine_config)
        self._batcher = Batcher(self._engine.score, time.monotonic, BatchLimits())
        await _check(self._engine, config, directory)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        self._batcher.limits = BatchLimits.model_validate(user_config)

    async def rerank(self, rows: TokenRows, timeout_s: float) -> NDArray[np.float32]:
        """Relevance in [0, 1], float32 [rows].

        Raises Overloaded, DeadlineExceeded, StageUnavailable.
        """
        return relevance(await self._batcher.submit(rows, timeout_s))

    async def status(self) -> StageStatus:
        batcher = self._batcher
        return StageStatus(
            self._config.name, self._fingerprint, batcher.queued_rows, batcher.queued_tokens
        )

    async def check_health(self) -> None:
        await self._engine.check_health()


def relevance(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sigmoid of the logits, float32.

    For Qwen3-Reranker the logit is logit(yes) - logit(no), so this is softmax over the two, as on
    its model card; for a cross-encoder it is the usual map of its one logit to [0, 1].
    """
    wide = logits.astype(np.float64)
    return (1.0 / (1.0 + np.exp(-np.clip(wide, -80, 80)))).astype(np.float32)


def fingerprint(config: RerankerConfig, directory: Path) -> str:
    """Names whatever decides a score: the weights and the template."""
    parts = [weights_digest(directory), config.template.model_dump_json()]
    return f"{config.name}:{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


async def _check(engine: PoolingEngine, config: RerankerConfig, directory: Path) -> None:
    encoder = RerankEncoder(load_tokenizer(directory), config.template, config.engine.max_model_len)
    rows = [encoder.pairs(golden.query, [golden.document], None) for golden in config.golden]
    scores = relevance(await engine.score(TokenRows.concatenate(rows)))
    check_golden(config.golden, scores.tolist())
