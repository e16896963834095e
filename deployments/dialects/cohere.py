"""Cohere's second version: /v2/embed and /v2/rerank.

`input_type` chooses what a text is: `search_query` gets the model's query instruction, anything
else is embedded as it is.
"""

import base64
import uuid
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Response
from fastapi.routing import APIRoute
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from deployments.api.auth import TenantDependency
from deployments.errors import WinnowError
from deployments.prompts import Cut
from deployments.schemas import DeadlineMs, Text, Wire
from deployments.service import Service

MAX_TEXTS = 96
MAX_DOCUMENTS = 1_000

EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]


class EmbedRequest(Wire):
    model: str
    texts: list[Text] = Field(min_length=1, max_length=MAX_TEXTS)
    input_type: Literal["search_document", "search_query", "classification", "clustering"]
    embedding_types: list[EmbeddingType] = Field(default=["float"], min_length=1)
    output_dimension: int | None = Field(default=None, ge=1)
    truncate: Literal["NONE", "START", "END"] = "END"
    max_tokens: int | None = Field(default=None, ge=1)
    priority: int = 0
    deadline_ms: DeadlineMs | None = None


class EmbedResponse(BaseModel):
    id: str
    embeddings: dict[EmbeddingType, list[Any]]
    texts: list[str]
    meta: dict[str, Any]
    response_type: Literal["embeddings_by_type"] = "embeddings_by_type"


class RerankRequest(Wire):
    model: str
    query: Text
    documents: list[Text] = Field(min_length=1, max_length=MAX_DOCUMENTS)
    top_n: int | None = Field(default=None, ge=1)
    max_tokens_per_doc: int = Field(default=4096, ge=1)
    priority: int = 0
    deadline_ms: DeadlineMs | None = None


class RerankResult(BaseModel):
    index: int
    relevance_score: float


class RerankResponse(BaseModel):
    id: str
    results: list[RerankResult]
    meta: dict[str, Any]


def routes(service: Service, tenant: TenantDependency, route_class: type[APIRoute]) -> APIRouter:  # noqa: ARG001 # every dialect is built alike
    router = APIRouter(route_class=route_class, tags=["Cohere v2"])

    @router.post("/v2/embed", response_model=EmbedResponse)
    async def embed(body: EmbedRequest) -> Response:
        """Vectors of texts in the types asked for."""
        service.require_embed_model(body.model)
        run = (
            service.pipeline.embed_queries
            if body.input_type == "search_query"
            else service.pipeline.embed_documents
        )
        embedded = await run(
            body.texts, _cut(body), service.deadline(body.deadline_ms), service.timings()
        )
        vectors = service.shorten(embedded.embeddings.vectors, body.output_dimension)
        answer = {
            "id": str(uuid.uuid4()),
            "embeddings": {kind: _ENCODERS[kind](vectors) for kind in body.embedding_types},
            "texts": body.texts,
            "meta": _meta({"input_tokens": embedded.tokens}),
            "response_type": "embeddings_by_type",
        }
        content = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(content, media_type="application/json")

    @router.post("/v2/rerank")
    async def rerank(body: RerankRequest) -> RerankResponse:
        """Documents by relevance to the query, best first."""
        service.require_rerank_model(body.model)
        ranked = await service.pipeline.rerank(
            body.query,
            body.documents,
            body.max_tokens_per_doc,
            service.deadline(body.deadline_ms),
            service.timings(),
        )
        return RerankResponse(
            id=str(uuid.uuid4()),
            results=[
                RerankResult(index=index, relevance_score=score)
                for index, score in ranked.order[: body.top_n]
            ],
            meta=_meta({"search_units": 1}) | {"tokens": {"input_tokens": ranked.tokens}},
        )

    return router


def render_error(error: WinnowError, request_id: str) -> dict[str, Any]:
    return {"message": error.message, "id": request_id}


def _meta(billed_units: dict[str, int]) -> dict[str, Any]:
    return {"api_version": {"version": "2"}, "billed_units": billed_units}


def _cut(body: EmbedRequest) -> Cut | None:
    if body.truncate == "NONE":
        return None
    return Cut(body.max_tokens, "end" if body.truncate == "START" else "start")


def _int8(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """A unit vector's components lie in [-1, 1]; 127 steps each way."""
    return np.clip(np.rint(vectors * 127), -127, 127).astype(np.int8)


def _ubinary(vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """One sign bit a component, eight to a byte, the first in the highest bit."""
    return np.packbits(vectors > 0, axis=1)


_ENCODERS: dict[str, Callable[[NDArray[np.float32]], Any]] = {
    "float": np.ascontiguousarray,
    "int8": _int8,
    "uint8": lambda vectors: (_int8(vectors).astype(np.int16) + 128).astype(np.uint8),
    "ubinary": _ubinary,
    "binary": lambda vectors: (_ubinary(vectors).astype(np.int16) - 128).astype(np.int8),
    "base64": lambda vectors: [
        base64.b64encode(row).decode() for row in np.ascontiguousarray(vectors, dtype="<f4")
    ],
}
