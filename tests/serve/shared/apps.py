"""Winnow with engines that only keep time, as in `loadtest.paced`, and with its real Index."""

from ray import serve
from ray.serve import Application

from cluster.config import AppConfig
from deployments.batching.halves import Compute
from deployments.batching.model_replica import Answers
from deployments.config import EmbedderConfig, ModelConfig, RerankerConfig
from deployments.index import Index
from deployments.router import Router
from loadtest.paced import PacedEmbedder, PacedReranker


class GoldenEmbedder(PacedEmbedder):
    async def __init__(self, config: EmbedderConfig) -> None:  # type: ignore[misc] # Serve awaits it
        await super().__init__(config)
        await self.keep_golden(_as_told(config))


class GoldenReranker(PacedReranker):
    async def __init__(self, config: RerankerConfig) -> None:  # type: ignore[misc] # Serve awaits it
        await super().__init__(config)
        await self.keep_golden(_as_told(config))


def _as_told(config: ModelConfig) -> Answers:
    """The golden answers that the configuration asks for: these engines know none."""

    async def answers(_: Compute) -> list[float]:
        return [(one.at_least + one.at_most) / 2 for one in config.golden]

    return answers


def winnow(config: AppConfig) -> Application:
    no_copies = {"copies": None}
    embedder, reranker = (
        one.model_copy(update={"engine": one.engine.model_copy(update=no_copies)})
        for one in (config.embedder, config.reranker)
    )
    embed = serve.deployment(name="Embedder")(GoldenEmbedder).bind(embedder)
    index = serve.deployment()(Index).bind(config.index)
    rerank = serve.deployment(name="Reranker")(GoldenReranker).bind(reranker)
    return serve.deployment()(Router).bind(config.router, embedder, reranker, embed, index, rerank)
