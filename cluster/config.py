"""The application's arguments: the configuration of every deployment, in one frozen model.

A change to any of it is a new version of the application. Sizes (replicas, queues, resources) and
settings that change while replicas run (batch limits) are in the profile's `deployments`.
"""

from pydantic import BaseModel, ConfigDict

from deployments.config import EmbedderConfig, IndexConfig, RerankerConfig, RouterConfig


class AppConfig(BaseModel):
    """The `args` of a profile's application, which `cluster.app:build` gets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    router: RouterConfig
    embedder: EmbedderConfig
    index: IndexConfig
    reranker: RerankerConfig
