"""The Embedder deployment: rows of token ids in, unit vectors out.

Each replica owns one engine and one queue. Knows neither text (but for its golden check) nor
tenants nor HTTP.
"""

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np

from deployments.batcher import Batcher, BatchLimits
from deployments.checkpoint import locate, weights_digest
from deployments.configs import EmbedderConfig
from deployments.engine.base import PoolingEngine
from deployments.engine.build import build_engine
from deployments.golden import check_golden
from deployments.prompts import Cut
from deployments.stage import Embeddings, StageStatus
from deployments.token_rows import TokenRows
from deployments.tokenizer import EmbedEncoder, load_tokenizer


class Embedder:
    async def __init__(self, config: EmbedderConfig) -> None:  # type: ignore[misc] # Serve awaits it
        directory = locate(config.engine.model, config.engine.revision, weights=True)
        engine_config = config.engine.model_copy(update={"model": str(directory)})
        self._config = config
        self._fingerprint = fingerprint(config, directory)
        self._engine = await build_engine(engine_config)
        self._batcher = Batcher(self._engine.embed, time.monotonic, BatchLimits())
        await _check(self._engine, config, directory)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        self._batcher.limits = BatchLimits.model_validate(user_config)

    async def embed(self, rows: TokenRows, timeout_s: float) -> Embeddings:
        """Raises Overloaded, DeadlineExceeded, StageUnavailable."""
        vectors = await self._batcher.submit(rows, timeout_s)
        return Embeddings(vectors, self._fingerprint)

    async def status(self) -> StageStatus:
        batcher = self._batcher
        return StageStatus(
            self._config.name, self._fingerprint, batcher.queued_rows, batcher.queued_tokens
        )

    async def check_health(self) -> None:
        await self._engine.check_health()


def fingerprint(config: EmbedderConfig, directory: Path) -> str:
    """Names whatever decides a document's vector: weights, pooling, and the tokens around it.

    A query's instruction is not part of it: it may change without touching stored vectors.
    """
    parts = [
        weights_digest(directory),
        config.engine.pooling or "",
        config.template.prefix,
        config.template.suffix,
        str(config.dimensions),
    ]
    return f"{config.name}:{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


async def _check(engine: PoolingEngine, config: EmbedderConfig, directory: Path) -> None:
    encoder = EmbedEncoder(load_tokenizer(directory), config.template, config.engine.max_model_len)
    queries = await engine.embed(encoder.queries([g.query for g in config.golden], Cut()))
    documents = await engine.embed(encoder.documents([g.document for g in config.golden], Cut()))
    cosines = np.einsum("ij,ij->i", queries, documents)
    check_golden(config.golden, cosines.tolist())
