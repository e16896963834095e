"""The objects that the routes of every dialect work with: pipeline, collections, tenants, models,
clock.

Assembled by `router`. Knows neither Ray nor how a stage is called.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.errors import InvalidRequest, ModelNotFound
from deployments.pipeline.collections import Collections
from deployments.pipeline.pipeline import Pipeline
from deployments.request.context import Context
from deployments.request.deadline import Clock, Deadline
from deployments.request.origin import Lane
from deployments.request.timings import Timings
from deployments.tenants.admission import Admission, Admitted
from deployments.tenants.tenant_store import TenantStore
from deployments.text.prompts import Truncation
from deployments.text.token_ids import TokenVocabulary
from deployments.web.request_log import RequestLog
from deployments.web.request_metrics import NO_METRICS, RequestMetrics
from deployments.web.schemas import Readiness, ReplicaList
from deployments.web.tracing import Tracing

DEFAULT_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class EmbedModel:
    """`name` is what it is called in answers; clients may ask for it by an alias too. `truncate` is
    what OpenAI's clients, who cannot say it, get for a text that is too long."""

    name: str
    dimensions: int
    min_dimensions: int | None
    aliases: tuple[str, ...] = ()
    truncate: Truncation = "NONE"


@dataclass(frozen=True, slots=True)
class RerankModel:
    name: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    pipeline: Pipeline
    collections: Collections
    control: TenantStore
    admission: Admission
    embed_model: EmbedModel
    rerank_model: RerankModel
    readiness: Callable[[], Awaitable[Readiness]]
    replicas: Callable[[], Awaitable[ReplicaList]]
    clock: Clock
    request_log: RequestLog
    token_vocabulary: TokenVocabulary | None = None
    tracing: Tracing | None = None
    metrics: RequestMetrics = NO_METRICS

    def deadline(self, caller: Admitted, deadline_ms: int | None = None) -> Deadline:
        """Return the earlier of the body's deadline, which counts from now, and the query's, which
        counts from the request's arrival; DEFAULT_DEADLINE_S from now without either."""
        if deadline_ms is None:
            return caller.deadline or Deadline.after(DEFAULT_DEADLINE_S, self.clock)
        deadline = Deadline.after(deadline_ms / 1000, self.clock)
        return min(deadline, caller.deadline or deadline, key=lambda one: one.at_s)

    def context(
        self, caller: Admitted, deadline_ms: int | None = None, lane: Lane = "default"
    ) -> Context:
        """Return the context of a request to the stages. Raises LaneNotAllowed."""
        deadline = self.deadline(caller, deadline_ms)
        timings = caller.timings = Timings(self.clock, self.metrics.spent)
        return Context(caller.origin(lane), deadline, timings, caller)

    def require_embed_model(self, name: str | None) -> None:
        """Raises ModelNotFound unless the embedder is asked for, or none is named."""
        _require(name, self.embed_model, "embedding")

    def require_rerank_model(self, name: str | None) -> None:
        """Raises ModelNotFound unless the reranker is asked for, or none is named."""
        _require(name, self.rerank_model, "reranking")

    def text_of_tokens(self, ids: Sequence[int]) -> str:
        """The text of OpenAI's token ids, which are another model's. Raises InvalidRequest where
        the profile names no vocabulary for them, and for ids that are not in it."""
        if self.token_vocabulary is None:
            raise InvalidRequest(
                "'input' holds token ids, which belong to another model's tokenizer: send text (in"
                " langchain-openai set check_embedding_ctx_length=False), or have the operator of"
                " this service set router.token_id_vocabulary",
                param="input",
            )
        return self.token_vocabulary.text(ids)

    def require_dimensions(self, dimensions: int | None) -> None:
        """Raises InvalidRequest for a width of vectors that the model was not trained for. Ask
        before anything is embedded: what is refused afterwards has cost the caller its tokens."""
        model = self.embed_model
        if dimensions is None or dimensions == model.dimensions:
            return
        lowest = model.min_dimensions or model.dimensions
        if not lowest <= dimensions <= model.dimensions:
            offer = (
                f"any width from {lowest} to {model.dimensions}"
                if model.min_dimensions
                else f"{model.dimensions} only"
            )
            raise InvalidRequest(
                f"model '{model.name}' has no vectors of {dimensions} dimensions: it gives {offer}",
                param="dimensions",
            )

    def shorten(self, vectors: NDArray[np.float32], dimensions: int | None) -> NDArray[np.float32]:
        """Cut each vector to its first `dimensions`, which `require_dimensions` has let pass, and
        scale it to unit length (Matryoshka, arXiv 2205.13147): float32 [rows, dimensions]."""
        if dimensions is None or dimensions == self.embed_model.dimensions:
            return vectors
        cut = vectors[:, :dimensions]
        shortened: NDArray[np.float32] = cut / np.linalg.norm(cut, axis=1, keepdims=True)
        return shortened


def _require(asked: str | None, model: EmbedModel | RerankModel, task: str) -> None:
    if asked is not None and asked != model.name and asked not in model.aliases:
        raise ModelNotFound(
            f"model '{asked}' is not served here: the {task} model is '{model.name}'",
            param="model",
        )
