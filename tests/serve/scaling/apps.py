"""Winnow with engines that compute nothing at a set pace, so that two cores can hold several."""

import asyncio

import numpy as np
from ray import serve
from ray.serve import Application

from cluster.config import AppConfig
from deployments.computed import Computed
from deployments.configs import EmbedderConfig, RerankerConfig
from deployments.embedder import Embedder
from deployments.engine.base import PoolingEngine
from deployments.reranker import Reranker
from deployments.router import Router
from deployments.token_rows import TokenRows
from loadtest.overhead.apps import FreeEngine, FreeIndex

# Of one replica.
EMBED_TOKENS_PER_S = 4_000
RERANK_TOKENS_PER_S = 4_000


class PacedEngine(FreeEngine):
    def __init__(self, width: int, tokens_per_s: float) -> None:
        super().__init__(width)
        self._tokens_per_s = tokens_per_s

    async def embed(self, rows: TokenRows) -> Computed:
        await asyncio.sleep(rows.total_tokens / self._tokens_per_s)
        return await super().embed(rows)

    async def score(self, rows: TokenRows) -> Computed:
        await asyncio.sleep(rows.total_tokens / self._tokens_per_s)
        return Computed.anew(np.zeros(len(rows), np.float32))


class PacedEmbedder(Embedder):
    async def __init__(self, config: EmbedderConfig) -> None:  # type: ignore[misc] # Serve awaits it
        engine: PoolingEngine = PacedEngine(config.dimensions, EMBED_TOKENS_PER_S)
        self.attach("embed", config, "paced", engine, lambda one: one.embed)


class PacedReranker(Reranker):
    async def __init__(self, config: RerankerConfig) -> None:  # type: ignore[misc] # Serve awaits it
        engine: PoolingEngine = PacedEngine(1, RERANK_TOKENS_PER_S)
        self.attach("rerank", config, "paced", engine, lambda one: one.score)


def winnow(config: AppConfig) -> Application:
    """As cluster.app:build."""
    embedder = serve.deployment(name="Embedder")(PacedEmbedder).bind(config.embedder)
    index = serve.deployment(name="Index")(FreeIndex).bind(config.reranker)
    reranker = serve.deployment(name="Reranker")(PacedReranker).bind(config.reranker)
    return serve.deployment()(Router).bind(
        config.router, config.embedder, config.reranker, embedder, index, reranker
    )
