"""/v1/rerank, in the shape that Jina, Cohere's first version and vLLM share.

The answer holds what each of their clients reads: `usage` (Jina, vLLM), `meta` (Cohere), and
documents as objects with a text.
"""

import uuid
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from deployments.api.auth import TenantDependency
from deployments.dialects import openai
from deployments.errors import WinnowError
from deployments.schemas import DeadlineMs, Text, Wire
from deployments.service import Service

MAX_DOCUMENTS = 1_000


class TextDocument(Wire):
    text: Text


class RerankRequest(Wire):
    """`top_n` of 0, as vLLM's clients send it, means all."""

    query: Text
    documents: list[Text | TextDocument] = Field(min_length=1, max_length=MAX_DOCUMENTS)
    model: str | None = None
    top_n: int | None = Field(default=None, ge=0)
    return_documents: bool = True
    max_tokens_per_doc: int | None = Field(default=None, ge=1)
    truncate_prompt_tokens: int | None = Field(default=None, ge=-1)
    truncation: bool | None = None
    deadline_ms: DeadlineMs | None = None


class DocumentText(BaseModel):
    text: str


class RerankResult(BaseModel):
    index: int
    relevance_score: float
    document: DocumentText | None = None


class RerankUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class RerankResponse(BaseModel):
    id: str
    object: Literal["list"] = "list"
    model: str
    results: list[RerankResult]
    usage: RerankUsage
    meta: dict[str, Any]


def routes(service: Service, tenant: TenantDependency, route_class: type[APIRoute]) -> APIRouter:  # noqa: ARG001 # every dialect is built alike
    router = APIRouter(route_class=route_class, tags=["Jina, Cohere v1"])

    @router.post("/v1/rerank", response_model_exclude_none=True)
    async def rerank(body: RerankRequest) -> RerankResponse:
        """Documents by relevance to the query, best first."""
        service.require_rerank_model(body.model)
        texts = [doc if isinstance(doc, str) else doc.text for doc in body.documents]
        ranked = await service.pipeline.rerank(
            body.query,
            texts,
            body.max_tokens_per_doc,
            service.deadline(body.deadline_ms),
            service.timings(),
        )
        return RerankResponse(
            id=f"rerank-{uuid.uuid4().hex}",
            model=service.rerank_model.name,
            results=[
                RerankResult(
                    index=index,
                    relevance_score=score,
                    document=DocumentText(text=texts[index]) if body.return_documents else None,
                )
                for index, score in ranked.order[: body.top_n or None]
            ],
            usage=RerankUsage(prompt_tokens=ranked.tokens, total_tokens=ranked.tokens),
            meta={"api_version": {"version": "1"}, "billed_units": {"search_units": 1}},
        )

    return router


def render_error(error: WinnowError, request_id: str) -> dict[str, Any]:
    """OpenAI's error object; `detail` is where Jina's clients look, `message` where Cohere's do."""
    return openai.render_error(error, request_id) | {
        "detail": error.message,
        "message": error.message,
        "id": request_id,
    }
