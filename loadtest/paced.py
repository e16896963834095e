"""Winnow with engines that sleep at a set rate instead of computing: two cores can hold several."""

import asyncio
from dataclasses import replace

import numpy as np
from ray.serve import Application

from cluster.config import AppConfig
from deployments.config import EmbedderConfig, RerankerConfig
from deployments.embedder import Embedder
from deployments.engine.base import PoolingEngine
from deployments.reranker import Reranker
from deployments.rows.engine_counts import EngineCounts
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from loadtest.overhead.apps import FreeEngine, graph

# One replica's rate, by default.
TOKENS_PER_S = 4_000


class PacedEngine(FreeEngine):
    """One engine that takes the time a real one would at `tokens_per_s`, a batch at a time."""

    def __init__(self, width: int, tokens_per_s: float = TOKENS_PER_S) -> None:
        super().__init__(width)
        self._tokens_per_s = tokens_per_s
        self._busy = asyncio.Lock()

    async def embed(self, rows: TokenRows) -> ModelOutput:
        await self._keep_time(rows)
        return replace(await super().embed(rows), counts=_one_step(rows))

    async def score(self, rows: TokenRows) -> ModelOutput:
        await self._keep_time(rows)
        scores = ModelOutput.uncached(np.zeros(len(rows), np.float32))
        return replace(scores, counts=_one_step(rows))

    async def _keep_time(self, rows: TokenRows) -> None:
        async with self._busy:
            await asyncio.sleep(rows.total_tokens / self._tokens_per_s)


def _one_step(rows: TokenRows) -> EngineCounts:
    """Counts that vLLM would have made."""
    return EngineCounts(steps=1, prompt_tokens=rows.total_tokens)


class PacedEmbedder(Embedder):
    """The Embedder with a PacedEngine."""

    async def __init__(  # type: ignore[misc] # Serve awaits it
        self, config: EmbedderConfig, tokens_per_s: float = TOKENS_PER_S
    ) -> None:
        engine: PoolingEngine = PacedEngine(config.dimensions, tokens_per_s)
        self.attach("embed", config, "paced", engine, lambda one: one.embed)


class PacedReranker(Reranker):
    """The Reranker with a PacedEngine."""

    async def __init__(  # type: ignore[misc] # Serve awaits it
        self, config: RerankerConfig, tokens_per_s: float = TOKENS_PER_S
    ) -> None:
        engine: PoolingEngine = PacedEngine(1, tokens_per_s)
        self.attach("rerank", config, "paced", engine, lambda one: one.score)


def winnow(config: AppConfig) -> Application:
    return graph(config, PacedEmbedder, PacedReranker)
