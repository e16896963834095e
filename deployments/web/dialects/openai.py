"""OpenAI's routes and shapes: /v1/embeddings and /v1/models.

Also takes what clients written for vLLM's server, for NVIDIA's NIM and for Jina add to them.
"""

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Response
from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag, model_validator

from deployments.errors import ModelNotFound, WinnowError
from deployments.pipeline.pipeline import Embedded, Usage
from deployments.text.prompts import Cut
from deployments.web.auth import Caller
from deployments.web.dialects.shared_fields import Truncate, VendorBody, cut, only
from deployments.web.dialects.vector_encodings import ENCODERS
from deployments.web.guarded_route import Guard
from deployments.web.schemas import Text
from deployments.web.service import Service

MAX_INPUTS = 2_048

_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def _kind(value: Any) -> str:
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(value, str):
        return "as text"
    if isinstance(first, int | list):
        return "as tokens"
    return "as texts"


def _refuse_tokens(_: list[Any]) -> list[Any]:
    raise ValueError(
        "is a list of token ids, which belong to another model's tokenizer: send text"
        " (in langchain-openai set check_embedding_ctx_length=False)"
    )


Inputs = Annotated[
    Annotated[Text, Tag("as text")]
    | Annotated[list[Text], Field(min_length=1, max_length=MAX_INPUTS), Tag("as texts")]
    | Annotated[list[Any], AfterValidator(_refuse_tokens), Tag("as tokens")],
    Discriminator(_kind),
]


def _token_limit(tokens: int) -> int:
    if tokens < 1 and tokens != -1:
        raise ValueError("must be at least 1, or -1 for as many as the model reads")
    return tokens


class EmbeddingsRequest(VendorBody):
    """A text is embedded as it is, unless `input_type` (NIM) or `task` (Jina) calls it a query.

    One that is too long is refused, unless `truncate` (NIM) or `truncate_prompt_tokens` (vLLM)
    says how to cut it. `truncation_side` is the side that `truncate_prompt_tokens` cuts and has no
    effect without it.
    """

    input: Inputs
    model: str
    dimensions: int | None = Field(default=None, ge=1)
    encoding_format: Literal["float", "base64"] = "float"
    input_type: Literal["query", "passage"] = "passage"
    task: Literal["retrieval.query", "retrieval.passage"] = "retrieval.passage"
    truncate: Truncate = "NONE"
    truncate_prompt_tokens: Annotated[int, AfterValidator(_token_limit)] | None = None
    truncation_side: Literal["left", "right"] = "right"
    add_special_tokens: Annotated[bool, only(True, "the model was trained with them")] = True
    embed_dtype: Annotated[str, only("float32", "vectors are sent as they are")] = "float32"

    @model_validator(mode="after")
    def _says_nothing_twice(self) -> "EmbeddingsRequest":
        for pair in (("input_type", "task"), ("truncate", "truncate_prompt_tokens")):
            if self.model_fields_set.issuperset(pair):
                raise ValueError(f"give either {pair[0]} or {pair[1]}")
        return self


class EmbeddingItem(BaseModel):
    """`embedding` is a list of floats or base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class TokenDetails(BaseModel):
    """As in OpenAI's other usage objects: how many tokens a cache spared the model."""

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
    pipeline = service.pipeline

    @router.post("/v1/embeddings", response_model=EmbeddingsResponse)
    async def embeddings(body: EmbeddingsRequest, caller: Caller) -> Response:
        """Vectors of texts. A query gets the model's instruction when `input_type` or `task` says
        that it is one; otherwise it is the client's to add."""
        service.require_embed_model(body.model)
        asked = body.input_type == "query" or body.task == "retrieval.query"
        run = pipeline.embed_queries if asked else pipeline.embed_documents
        embedded = await run(
            [body.input] if isinstance(body.input, str) else body.input,
            _cut(body),
            service.context(caller, body.deadline_ms),
        )
        answer = _answer(embedded, body, service)
        content = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(content, media_type="application/json")


def _add_models(router: APIRouter, service: Service) -> None:
    embed, rerank = service.embed_model, service.rerank_model
    cards = {
        embed.name: ModelCard(id=embed.name, task="embed", dimensions=embed.dimensions),
        rerank.name: ModelCard(id=rerank.name, task="rerank"),
    }

    @router.get("/v1/models")
    async def models() -> ModelList:
        """The models served here."""
        return ModelList(data=list(cards.values()))

    @router.get("/v1/models/{model:path}")
    async def model(model: str) -> ModelCard:
        """One of them."""
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


def _cut(body: EmbeddingsRequest) -> Cut | None:
    if body.truncate_prompt_tokens is None:
        return cut(body.truncate)
    limit = None if body.truncate_prompt_tokens == -1 else body.truncate_prompt_tokens
    return Cut(limit, keep="end" if body.truncation_side == "left" else "start")


def _answer(embedded: Embedded, body: EmbeddingsRequest, service: Service) -> dict[str, Any]:
    """An EmbeddingsResponse for orjson to write, which takes the vectors without a copy."""
    vectors = service.shorten(embedded.vectors, body.dimensions)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(ENCODERS[body.encoding_format](vectors))
        ],
        "model": service.embed_model.name,
        "usage": TokenUsage.of(embedded.usage).model_dump(),
    }
