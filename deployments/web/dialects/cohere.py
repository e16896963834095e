"""Cohere's routes: /v2/embed and /v2/rerank of its second version, /v1/embed of its first.

The first version's /v1/rerank is in `jina`.

`input_type` chooses what a text is: `search_query` gets the model's query instruction, anything
else is embedded as it is.
"""

import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from deployments.errors import WinnowError
from deployments.pipeline.pipeline import Embedded, Usage
from deployments.web.auth import Caller
from deployments.web.dialects.documents import (
    Documents,
    RankFields,
    document_texts,
    rank,
    returned_document,
    search_units,
)
from deployments.web.dialects.shared_fields import (
    EmbedText,
    Refused,
    RelevantDocument,
    Truncate,
    VendorBody,
    VendorObject,
    answer,
    cut,
)
from deployments.web.dialects.vector_encodings import Encoding, encode_as
from deployments.web.guarded_route import Guard
from deployments.web.schemas import MAX_CHOICES, Text
from deployments.web.service import Service

MAX_TEXTS = 96

InputType = Literal["search_document", "search_query", "classification", "clustering"]
EmbeddingTypes = Annotated[list[Encoding], Field(min_length=1, max_length=MAX_CHOICES)]


class TextContent(VendorObject):
    type: Literal["text"]
    text: EmbedText


class EmbedInput(VendorObject):
    """Cohere's form for texts mixed with images, of which only one text is taken."""

    content: list[TextContent] = Field(min_length=1, max_length=1)


class EmbedBody(VendorBody):
    """Fields of both versions. Fields that are not listed are ignored, and named in the answer's
    header x-winnow-ignored-fields."""

    model: str | None = None
    truncate: Truncate = "END"
    images: Annotated[Any, Refused("only texts are embedded here")] = None


class EmbedV1Request(EmbedBody):
    """Without `embedding_types` the answer holds floats alone; without `input_type` a text is
    embedded as it is."""

    texts: list[EmbedText] = Field(min_length=1, max_length=MAX_TEXTS)
    input_type: InputType = "search_document"
    embedding_types: EmbeddingTypes | None = None


class EmbedRequest(EmbedBody):
    """Texts to embed, either in `texts` or in `inputs`."""

    texts: list[EmbedText] | None = Field(default=None, min_length=1, max_length=MAX_TEXTS)
    inputs: list[EmbedInput] | None = Field(default=None, min_length=1, max_length=MAX_TEXTS)
    input_type: InputType
    embedding_types: EmbeddingTypes = Field(default=["float"])
    output_dimension: int | None = Field(default=None, ge=1)
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


class EmbedFloatsResponse(BaseModel):
    id: str
    embeddings: list[list[float]]
    texts: list[str]
    meta: dict[str, Any]
    response_type: Literal["embeddings_floats"] = "embeddings_floats"


class RerankRequest(VendorBody):
    """Documents to rank; of objects, `rank_fields` are ranked ("text" where it is left out). Blank
    documents come last, with a relevance of 0. Fields that are not listed are ignored, and named
    in the answer's header x-winnow-ignored-fields."""

    model: str | None = None
    query: Text
    documents: Documents
    top_n: int | None = Field(default=None, ge=1)
    max_tokens_per_doc: int = Field(default=4096, ge=1)
    return_documents: bool = False
    rank_fields: RankFields | None = None


class RankedDocument(RelevantDocument):
    """`document` is there where it was asked for."""

    document: dict[str, Any] | None = None


class RerankResponse(BaseModel):
    id: str
    results: list[RankedDocument]
    meta: dict[str, Any]


class ErrorBody(BaseModel):
    message: str
    id: str


def routes(service: Service, guarded: Guard) -> APIRouter:
    router = APIRouter(route_class=guarded("read"), tags=["Cohere"])
    _add_embed(router, service)
    _add_rerank(router, service)
    return router


def _add_embed(router: APIRouter, service: Service) -> None:
    @router.post("/v1/embed", response_model=EmbedResponse | EmbedFloatsResponse)
    async def embed_v1(body: EmbedV1Request, caller: Caller) -> Response:
        """Vectors of texts: floats, or the types asked for."""
        service.require_embed_model(body.model)
        context = service.context(caller, body.deadline_ms)
        embedded = await _run(service, body.input_type)(body.texts, cut(body.truncate), context)
        return answer(
            {
                "id": str(uuid.uuid4()),
                "texts": body.texts,
                "meta": _embed_meta("1", embedded.usage),
                **_vectors(embedded.vectors, body.embedding_types),
            },
            body,
            embedded.truncated,
        )

    @router.post("/v2/embed", response_model=EmbedResponse)
    async def embed(body: EmbedRequest, caller: Caller) -> Response:
        """Vectors of texts in the types asked for."""
        service.require_embed_model(body.model)
        service.require_dimensions(body.output_dimension)
        texts = _texts(body)
        context = service.context(caller, body.deadline_ms)
        how = cut(body.truncate, body.max_tokens)
        embedded = await _run(service, body.input_type)(texts, how, context)
        vectors = service.shorten(embedded.vectors, body.output_dimension)
        return answer(
            {
                "id": str(uuid.uuid4()),
                "texts": texts,
                "meta": _embed_meta("2", embedded.usage),
                **_vectors(vectors, body.embedding_types),
            },
            body,
            embedded.truncated,
        )


def _add_rerank(router: APIRouter, service: Service) -> None:
    @router.post("/v2/rerank", response_model=RerankResponse)
    async def rerank(body: RerankRequest, caller: Caller) -> Response:
        """Documents by relevance to the query, best first."""
        service.require_rerank_model(body.model)
        texts = document_texts(body.documents, body.rank_fields)
        context = service.context(caller, body.deadline_ms)
        ranked = await rank(service.pipeline, body.query, texts, body.max_tokens_per_doc, context)
        results: list[dict[str, Any]] = [
            {"index": index, "relevance_score": score} for index, score in ranked.order
        ][: body.top_n]
        if body.return_documents:
            for one in results:
                index = one["index"]
                one["document"] = returned_document(body.documents[index], texts[index])
        meta = _meta("2", {"search_units": search_units(texts)}, ranked.usage)
        meta["tokens"] = {"input_tokens": ranked.usage.tokens}
        content = {"id": str(uuid.uuid4()), "results": results, "meta": meta}
        return answer(content, body, ranked.truncated)


def render_error(error: WinnowError, request_id: str) -> dict[str, Any]:
    return {"message": error.message, "id": request_id}


def _run(service: Service, input_type: InputType) -> Callable[..., Awaitable[Embedded]]:
    pipeline = service.pipeline
    return pipeline.embed_queries if input_type == "search_query" else pipeline.embed_documents


def _texts(body: EmbedRequest) -> list[str]:
    if body.inputs is not None:
        return [given.content[0].text for given in body.inputs]
    return body.texts or []


def _vectors(vectors: NDArray[np.float32], kinds: list[Encoding] | None) -> dict[str, Any]:
    if kinds is None:
        return {"response_type": "embeddings_floats", "embeddings": encode_as(vectors, "float")}
    by_type = {kind: encode_as(vectors, kind) for kind in kinds}
    return {"response_type": "embeddings_by_type", "embeddings": by_type}


def _embed_meta(version: str, usage: Usage) -> dict[str, Any]:
    return _meta(version, {"input_tokens": usage.tokens}, usage)


def _meta(version: str, billed_units: dict[str, int], usage: Usage) -> dict[str, Any]:
    return {
        "api_version": {"version": version},
        "billed_units": billed_units,
        "cached_tokens": usage.cached_tokens,
    }
