"""Winnow with engines that only sleep, as if each had processors of its own, and the real index."""

from ray import serve
from ray.serve import Application

from cluster.config import AppConfig
from deployments.index import Index
from deployments.router import Router
from loadtest.paced import PacedEmbedder, PacedReranker

TOKENS_PER_S = 16_000


def paced(config: AppConfig) -> Application:
    """Bind the graph of cluster.app:build with paced engines, each of TOKENS_PER_S tokens/s."""
    embed = serve.deployment(name="Embedder")(PacedEmbedder).bind(config.embedder, TOKENS_PER_S)
    index = serve.deployment()(Index).bind(config.index)
    rerank = serve.deployment(name="Reranker")(PacedReranker).bind(config.reranker, TOKENS_PER_S)
    return serve.deployment()(Router).bind(
        config.router, config.embedder, config.reranker, embed, index, rerank
    )
