"""The bind graph: which deployment gets handles to which. Knows no sizes."""

from ray import serve
from ray.serve import Application

from cluster.config import AppConfig
from deployments.embedder import Embedder
from deployments.index import Index
from deployments.reranker import Reranker
from deployments.router import Router


def build(config: AppConfig) -> Application:
    """Build the application; a profile's `import_path` names this function."""
    embedder = serve.deployment()(Embedder).bind(config.embedder)
    index = serve.deployment()(Index).bind(config.index)
    reranker = serve.deployment()(Reranker).bind(config.reranker)
    return serve.deployment()(Router).bind(
        config.router, config.embedder, config.reranker, embedder, index, reranker
    )
