"""What each deployment is told. Plain values, so that whatever reads a profile needs no model code.

How many replicas there are and what a batch may hold is not here: that is the profile's
`deployments`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from deployments.engine.base import EngineConfig
from deployments.golden import Golden
from deployments.prompts import EmbedTemplate, RerankTemplate


class RouterConfig(BaseModel):
    """`keys_file` holds the hashed API keys; it is read again when it changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys_file: str
    tokenizer_threads: int = Field(default=2, gt=0)


class EmbedderConfig(BaseModel):
    """An embedding model as Winnow serves it.

    `name` is what clients call it. `dimensions` is the width of its vectors; they may be cut to
    any width from `min_dimensions` up if the model was trained for that (Matryoshka).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    dimensions: int = Field(gt=0)
    min_dimensions: int | None = Field(default=None, gt=0)
    template: EmbedTemplate
    engine: EngineConfig
    golden: tuple[Golden, ...] = Field(min_length=1)


class IndexConfig(BaseModel):
    """`lancedb` keeps collections in `directory`; `qdrant` in the cluster at `url`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: Literal["lancedb", "qdrant"] = "lancedb"
    directory: str | None = None
    url: str | None = None
    replication_factor: int = Field(default=2, gt=0)


class RerankerConfig(BaseModel):
    """A reranking model as Winnow serves it; `name` is what clients call it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    template: RerankTemplate
    engine: EngineConfig
    golden: tuple[Golden, ...] = Field(min_length=1)
