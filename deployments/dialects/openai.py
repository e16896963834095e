"""OpenAI's routes and shapes: /v1/embeddings and /v1/models.

Also takes `truncate_prompt_tokens`, which clients written for vLLM's server send.
"""

import base64
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Response
from fastapi.routing import APIRoute
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag

from deployments.api.auth import TenantDependency
from deployments.errors import ModelNotFound, WinnowError
from deployments.prompts import Cut
from deployments.schemas import DeadlineMs, Text, Wire
from deployments.service import Service

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


class EmbeddingsRequest(Wire):
    input: Inputs
    model: str
    dimensions: int | None = Field(default=None, ge=1)
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None
    truncate_prompt_tokens: int | None = Field(default=None, ge=-1)
    deadline_ms: DeadlineMs | None = None


class EmbeddingItem(BaseModel):
    """`embedding` is a list of floats or base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    object: Literal["list"] = "list"
    data: list[EmbeddingItem]
    model: str
    usage: EmbeddingsUsage


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


def routes(service: Service, tenant: TenantDependency, route_class: type[APIRoute]) -> APIRouter:  # noqa: ARG001 # every dialect is built alike
    router = APIRouter(route_class=route_class, tags=["OpenAI"])
    cards = {
        service.embed_model.name: ModelCard(
            id=service.embed_model.name, task="embed", dimensions=service.embed_model.dimensions
        ),
        service.rerank_model.name: ModelCard(id=service.rerank_model.name, task="rerank"),
    }

    @router.post("/v1/embeddings", response_model=EmbeddingsResponse)
    async def embeddings(body: EmbeddingsRequest) -> Response:
        """Vectors of texts, as they are: a query's instruction is the client's to add, or comes
        with `/v2/embed`."""
        service.require_embed_model(body.model)
        texts = [body.input] if isinstance(body.input, str) else body.input
        embedded = await service.pipeline.embed_documents(
            texts, _cut(body), service.deadline(body.deadline_ms), service.timings()
        )
        vectors = service.shorten(embedded.embeddings.vectors, body.dimensions)
        answer = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": vector}
                for index, vector in enumerate(encode_vectors(vectors, body.encoding_format))
            ],
            "model": service.embed_model.name,
            "usage": {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens},
        }
        content = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(content, media_type="application/json")

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

    return router


def encode_vectors(vectors: NDArray[np.float32], encoding: str) -> list[Any]:
    """What orjson writes for each row: its numbers, or base64 of little-endian float32."""
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    if encoding == "base64":
        return [base64.b64encode(row).decode() for row in rows]
    return list(rows)


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
        return None
    return Cut(None if body.truncate_prompt_tokens < 1 else body.truncate_prompt_tokens)
