"""Cohere's second version: /v2/embed and /v2/rerank.

`input_type` chooses what a text is: `search_query` gets the model's query instruction, anything
else is embedded as it is.
"""

import uuid
from typing import Any, Literal

import orjson
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, model_validator

from deployments.errors import WinnowError
from deployments.pipeline.pipeline import Usage
from deployments.web.auth import Caller
from deployments.web.dialects.shared_fields import (
    MAX_DOCUMENTS,
    RelevantDocument,
    Truncate,
    VendorBody,
    cut,
)
from deployments.web.dialects.vector_encodings import ENCODERS, Encoding
from deployments.web.guarded_route import Guard
from deployments.web.schemas import Text, Wire
from deployments.web.service import Service

MAX_TEXTS = 96


class TextContent(Wire):
    type: Literal["text"]
    text: Text


class EmbedInput(Wire):
    """Cohere's form for texts mixed with images, of which only one text is taken."""

    content: list[TextContent] = Field(min_length=1, max_length=1)


class EmbedRequest(VendorBody):
    """What to embed is either in `texts` or in `inputs`."""

    model: str
    texts: list[Text] | None = Field(default=None, min_length=1, max_length=MAX_TEXTS)
    inputs: list[EmbedInput] | None = Field(default=None, min_length=1, max_length=MAX_TEXTS)
    input_type: Literal["search_document", "search_query", "classification", "clustering"]
    embedding_types: list[Encoding] = Field(default=["float"], min_length=1)
    output_dimension: int | None = Field(default=None, ge=1)
    truncate: Truncate = "END"
    max_tokens: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _is_consistent(self) -> "EmbedRequest":
        if (self.texts is None) == (self.inputs is None):
            raise ValueError("give either texts or inputs")
        if self.truncate == "NONE" and self.max_tokens is not None:
            raise ValueError(
                "max_tokens says where a text is cut and truncate NONE that none is: give one of"
                " them"
            )
        return self


class EmbedResponse(BaseModel):
    id: str
    embeddings: dict[Encoding, list[Any]]
    texts: list[str]
    meta: dict[str, Any]
    response_type: Literal["embeddings_by_type"] = "embeddings_by_type"


class RerankRequest(VendorBody):
    model: str
    query: Text
    documents: list[Text] = Field(min_length=1, max_length=MAX_DOCUMENTS)
    top_n: int | None = Field(default=None, ge=1)
    max_tokens_per_doc: int = Field(default=4096, ge=1)


class RerankResponse(BaseModel):
    id: str
    results: list[RelevantDocument]
    meta: dict[str, Any]


class ErrorBody(BaseModel):
    message: str
    id: str


def routes(service: Service, guarded: Guard) -> APIRouter:
    router = APIRouter(route_class=guarded("read"), tags=["Cohere v2"])
    _add_embed(router, service)
    _add_rerank(router, service)
    return router


def _add_embed(router: APIRouter, service: Service) -> None:
    pipeline = service.pipeline

    @router.post("/v2/embed", response_model=EmbedResponse)
    async def embed(body: EmbedRequest, caller: Caller) -> Response:
        """Vectors of texts in the types asked for."""
        service.require_embed_model(body.model)
        asked = body.input_type == "search_query"
        run = pipeline.embed_queries if asked else pipeline.embed_documents
        texts = _texts(body)
        embedded = await run(
            texts,
            cut(body.truncate, body.max_tokens),
            service.context(caller, body.deadline_ms),
        )
        vectors = service.shorten(embedded.vectors, body.output_dimension)
        answer = {
            "id": str(uuid.uuid4()),
            "embeddings": {kind: ENCODERS[kind](vectors) for kind in body.embedding_types},
            "texts": texts,
            "meta": _meta({"input_tokens": embedded.usage.tokens}, embedded.usage),
            "response_type": "embeddings_by_type",
        }
        content = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(content, media_type="application/json")


def _add_rerank(router: APIRouter, service: Service) -> None:
    @router.post("/v2/rerank")
    async def rerank(body: RerankRequest, caller: Caller) -> RerankResponse:
        """Documents by relevance to the query, best first."""
        service.require_rerank_model(body.model)
        ranked = await service.pipeline.rerank(
            body.query,
            body.documents,
            body.max_tokens_per_doc,
            service.context(caller, body.deadline_ms),
        )
        return RerankResponse(
            id=str(uuid.uuid4()),
            results=[
                RelevantDocument(index=index, relevance_score=score)
                for index, score in ranked.order[: body.top_n]
            ],
            meta=_meta({"search_units": 1}, ranked.usage)
            | {"tokens": {"input_tokens": ranked.usage.tokens}},
        )


def render_error(error: WinnowError, request_id: str) -> dict[str, Any]:
    return {"message": error.message, "id": request_id}


def _texts(body: EmbedRequest) -> list[str]:
    if body.inputs is not None:
        return [given.content[0].text for given in body.inputs]
    return body.texts or []


def _meta(billed_units: dict[str, int], usage: Usage) -> dict[str, Any]:
    return {
        "api_version": {"version": "2"},
        "billed_units": billed_units,
        "cached_tokens": usage.cached_tokens,
    }
