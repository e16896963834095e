"""What the system is: the configuration of every deployment, composed and frozen.

A change of any of it is a new version of the application. How big the system is (replicas, queues,
resources) and what may be turned live (batch limits) stand in the profile's `deployments`.
"""

from pydantic import BaseModel, ConfigDict

from deployments.config import EmbedderConfig, IndexConfig, RerankerConfig, RouterConfig


class AppConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    router: RouterConfig
    embedder: EmbedderConfig
    index: IndexConfig
    reranker: RerankerConfig
