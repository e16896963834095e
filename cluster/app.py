"""The bind graph: how the deployments are put together."""

from ray import serve
from ray.serve import Application

from cluster.config import AppConfig
from deployments.embedder import Embedder
from deployments.index import Index
from deployments.reranker import Reranker
from deployments.router import Router


def build(config: AppConfig) -> Application:
    """The application that a profile's `import_path` names."""
    embedder = serve.deployment()(Embedder).bind(config.embedder)
    index = serve.deployment()(Index).bind(config.index)
    reranker = serve.deployment()(Reranker).bind(config.reranker)
    return serve.deployment()(Router).bind(
        config.router, config.embedder, config.reranker, embedder, index, reranker
    )
