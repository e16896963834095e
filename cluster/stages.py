"""The stages of a search, and the names that a profile has for each."""

from dataclasses import dataclass
from typing import Literal

ModelStage = Literal["embed", "rerank"]


@dataclass(frozen=True, slots=True)
class StageNames:
    """A stage's Serve deployment, and the field of the application's `args` that configures it."""

    deployment: str
    field: str


MODEL_STAGES: dict[ModelStage, StageNames] = {
    "embed": StageNames("Embedder", "embedder"),
    "rerank": StageNames("Reranker", "reranker"),
}
# The stages as /readyz names them.
STAGE_OF_DEPLOYMENT = {"Embedder": "embed", "Index": "retrieve", "Reranker": "rerank"}
