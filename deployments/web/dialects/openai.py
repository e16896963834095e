"""OpenAI's routes and shapes: /v1/embeddings and /v1/models.

Also takes what clients written for Azure's OpenAI, for vLLM's and infinity's servers, for NVIDIA's
NIM, for Jina and for Voyage add to them. Their answers are OpenAI's.
"""

from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Response
from pydantic import AfterValidator, BaseModel, Field, model_validator

from deployments.errors import ModelNotFound, WinnowError
from deployments.pipeline.pipeline import Embedded, Usage
from deployments.text.prompts import Cut, Truncation
from deployments.web.auth import Caller
from deployments.web.dialects.inputs import Inputs, input_texts
from deployments.web.dialects.shared_fields import (
    Refused,
    Truncate,
    VendorBody,
    answer,
    cut,
    only,
    only_one_of,
)
from deployments.web.dialects.vector_encodings import Number, encode
from deployments.web.guarded_route import Guard
from deployments.web.service import Service

_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_MULTIPLE = "a text has one vector, of unit length"
_OWN_PROMPT = 'put it before the text yourself, or say input_type "query"'


def _token_limit(tokens: int) -> int:
    if tokens < 1 and tokens != -1:
        raise ValueError("must be at least 1, or -1 for as many as the model reads")
    return tokens


class EmbeddingsRequest(VendorBody):
    """A text is embedded as it is, unless `input_type` (NIM, Voyage) or `task` (Jina) calls it a
    query.

    One that is too long is refused, unless the profile or `truncate` (NIM, Jina), `truncation`
    (Voyage) or `truncate_prompt_tokens` (vLLM) says how to cut it. `truncation_side` is the side
    that `truncate_prompt_tokens` cuts and has no effect without it. `output_dimension` (Voyage) is
    `dimensions`; `embedding_type` (Jina; once `encoding_type`) and `output_dtype` (Voyage) say of
    what a vector's components are made. Fields that are not listed are ignored, and named in the
    answer's header x-winnow-ignored-fields.
    """

    zero_is_absent: ClassVar[frozenset[str]] = frozenset({"dimensions", "output_dimension"})

    input: Inputs
    model: str | None = None
    dimensions: int | None = Field(default=None, ge=1)
    output_dimension: int | None = Field(default=None, ge=1)
    encoding_format: Literal["float", "base64"] = "float"
    embedding_type: Literal["float", "base64", "binary", "ubinary"] | None = None
    encoding_type: Literal["float", "base64", "binary", "ubinary"] | None = None
    output_dtype: Number | None = None
    input_type: Literal["query", "passage", "document"] = "passage"
    task: Literal["retrieval.query", "retrieval.passage"] = "retrieval.passage"
    truncate: Truncate | None = None
    truncation: bool = False
    truncate_prompt_tokens: Annotated[int, AfterValidator(_token_limit)] | None = None
    truncation_side: Literal["left", "right"] = "right"
    add_special_tokens: Annotated[bool, only(True, "the model was trained with them")] = True
    embed_dtype: Annotated[str, only("float32", "vectors are sent as they are")] = "float32"
    normalized: Annotated[bool, only(True, _MULTIPLE)] = True
    normalize: Annotated[bool, only(True, _MULTIPLE)] = True
    return_multivector: Annotated[bool, only(False, _MULTIPLE)] = False
    late_chunking: Annotated[bool, only(False, "each text is embedded on its own")] = False
    modality: Annotated[str, only("text", "only texts are embedded here")] = "text"
    messages: Annotated[Any, Refused("send texts as input")] = None
    instruction: Annotated[Any, Refused(_OWN_PROMPT)] = None
    prompt: Annotated[Any, Refused(_OWN_PROMPT)] = None
    prompt_name: Annotated[Any, Refused(_OWN_PROMPT)] = None

    @model_validator(mode="after")
    def _says_nothing_twice(self) -> "EmbeddingsRequest":
        only_one_of(self, "input_type", "task")
        only_one_of(self, "truncate", "truncation", "truncate_prompt_tokens")
        only_one_of(self, "dimensions", "output_dimension")
        only_one_of(self, "embedding_type", "encoding_type", "output_dtype")
        return self


class EmbeddingItem(BaseModel):
    """`embedding` is a list of numbers, or base64 of their bytes: little-endian float32 unless
    another type was asked for."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class TokenDetails(BaseModel):
    """Tokens that a cache spared the model, named as in OpenAI's other usage objects."""

    cached_tokens: int


class TokenUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int
    prompt_tokens_details: TokenDetails

    @classmethod
    def of(cls, usage: Usage) -> "TokenUsage":
        return cls(
            prompt_tokens=usage.tokens,
            total_tokens=usage.tokens,
            prompt_tokens_details=TokenDetails(cached_tokens=usage.cached_tokens),
        )


class EmbeddingsResponse(BaseModel):
    object: Literal["list"] = "list"
    data: list[EmbeddingItem]
    model: str
    usage: TokenUsage


class ModelCard(BaseModel):
    """`task` and `dimensions` are ours; the rest is OpenAI's."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "winnow"
    task: Literal["embed", "rerank"]
    dimensions: int | None = None


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]


class ErrorDetails(BaseModel):
    """`param` names the field at fault; `code` is for programs, `message` for people."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(BaseModel):
    error: ErrorDetails


def routes(service: Service, guarded: Guard) -> APIRouter:
    router = APIRouter(route_class=guarded("read"), tags=["OpenAI"])
    _add_embeddings(router, service)
    _add_models(router, service)
    return router


def _add_embeddings(router: APIRouter, service: Service) -> None:
    async def embed(body: EmbeddingsRequest, caller: Caller, asked: str | None) -> Response:
        service.require_embed_model(asked)
        service.require_dimensions(_dimensions(body))
        query = body.input_type == "query" or body.task == "retrieval.query"
        pipeline = service.pipeline
        embedded = await (pipeline.embed_queries if query else pipeline.embed_documents)(
            input_texts(body.input, service),
            _cut(body, service.embed_model.truncate),
            service.context(caller, body.deadline_ms),
        )
        return answer(_embeddings(embedded, body, service), body, embedded.truncated)

    # Without a version it is vLLM's and infinity's.
    @router.post("/infinity/embeddings", include_in_schema=False)
    @router.post("/embeddings", include_in_schema=False)
    @router.post("/v1/embeddings", response_model=EmbeddingsResponse)
    async def embeddings(body: EmbeddingsRequest, caller: Caller) -> Response:
        """Vectors of texts. A query gets the model's instruction when `input_type` or `task` says
        that it is one; otherwise it is the client's to add. Also at `/embeddings`."""
        return await embed(body, caller, body.model)

    @router.post("/openai/deployments/{model:path}/embeddings", response_model=EmbeddingsResponse)
    async def azure_embeddings(model: str, body: EmbeddingsRequest, caller: Caller) -> Response:
        """The same for clients of Azure's OpenAI, where the path names the model."""
        return await embed(body, caller, model)


def _add_models(router: APIRouter, service: Service) -> None:
    embed, rerank = service.embed_model, service.rerank_model
    embeds = ModelCard(id=embed.name, task="embed", dimensions=embed.dimensions)
    reranks = ModelCard(id=rerank.name, task="rerank")
    cards = dict.fromkeys((embed.name, *embed.aliases), embeds)
    cards |= dict.fromkeys((rerank.name, *rerank.aliases), reranks)

    @router.get("/v1/models")
    async def models() -> ModelList:
        """The models served here."""
        return ModelList(data=[embeds, reranks])

    @router.get("/v1/models/{model:path}")
    async def model(model: str) -> ModelCard:
        """One of them, by its name or an alias."""
        if model not in cards:
            raise ModelNotFound(f"model '{model}' is not served here", param="model")
        return cards[model]


def render_error(error: WinnowError, request_id: str) -> dict[str, Any]:  # noqa: ARG001
    """OpenAI's error object. The id is in the x-request-id header, where its SDK looks."""
    fallback = "server_error" if error.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": error.message,
            "type": _ERROR_TYPES.get(error.status, fallback),
            "param": error.param,
            "code": error.code,
        }
    }


def _cut(body: EmbeddingsRequest, otherwise: Truncation) -> Cut | None:
    if body.truncate_prompt_tokens is not None:
        limit = None if body.truncate_prompt_tokens == -1 else body.truncate_prompt_tokens
        return Cut(limit, keep="end" if body.truncation_side == "left" else "start")
    if "truncation" in body.model_fields_set:
        return cut("END" if body.truncation else "NONE")
    return cut(body.truncate or otherwise)


def _dimensions(body: EmbeddingsRequest) -> int | None:
    return body.dimensions or body.output_dimension


def _embeddings(embedded: Embedded, body: EmbeddingsRequest, service: Service) -> dict[str, Any]:
    """An EmbeddingsResponse for orjson to write, which takes the vectors without a copy."""
    vectors = service.shorten(embedded.vectors, _dimensions(body))
    kind = body.output_dtype or body.embedding_type or body.encoding_type or "float"
    as_base64 = "base64" in (body.encoding_format, kind)
    rows = encode(vectors, "float" if kind == "base64" else kind, as_base64=as_base64)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(rows)
        ],
        "model": service.embed_model.name,
        "usage": TokenUsage.of(embedded.usage).model_dump(),
    }
