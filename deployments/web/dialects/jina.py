"""/v1/rerank, in the shape that Jina, Cohere's first version, vLLM, Voyage and infinity share.

The answer holds what each of their clients reads: `usage` (Jina, vLLM), `meta` (Cohere), and
documents as objects with a text.
"""

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from deployments.errors import WinnowError
from deployments.pipeline.pipeline import Ranked
from deployments.web.auth import Caller
from deployments.web.dialects import openai
from deployments.web.dialects.shared_fields import MAX_DOCUMENTS, RelevantDocument, VendorBody, only
from deployments.web.guarded_route import Guard
from deployments.web.schemas import Text, Wire
from deployments.web.service import Service


class TextDocument(Wire):
    text: Text


class RerankRequest(VendorBody):
    """`top_n` and `max_tokens_per_doc` of 0, as vLLM's clients send them, set no limit. A document
    is never split, so `max_chunks_per_doc` is kept whatever it is."""

    query: Text
    documents: list[Text | TextDocument] = Field(min_length=1, max_length=MAX_DOCUMENTS)
    model: str | None = None
    top_n: int = Field(default=0, ge=0)
    return_documents: bool = True
    max_tokens_per_doc: int = Field(default=0, ge=0)
    max_chunks_per_doc: int | None = Field(default=None, ge=1)
    rank_fields: Annotated[list[str], only(["text"], "a document has no other")] | None = None
    raw_scores: Annotated[bool, only(False, "scores are relevances in [0, 1]")] = False
    truncation: Annotated[bool, only(True, "a document that is too long is cut")] = True
    truncate_prompt_tokens: Annotated[
        int, only(-1, "a pair may be as long as the model reads; max_tokens_per_doc cuts documents")
    ] = -1


class DocumentText(BaseModel):
    text: str


class RerankResult(RelevantDocument):
    document: DocumentText | None = None


class RerankResponse(BaseModel):
    id: str
    object: Literal["list"] = "list"
    model: str
    results: list[RerankResult]
    usage: openai.TokenUsage
    meta: dict[str, Any]


class ErrorBody(openai.ErrorBody):
    """OpenAI's, with `detail` where Jina's clients look and `message` where Cohere's do."""

    detail: str
    message: str
    id: str


def routes(service: Service, guarded: Guard) -> APIRouter:
    router = APIRouter(route_class=guarded("read"), tags=["Jina, Cohere v1"])

    @router.post("/v1/rerank", response_model_exclude_none=True)
    async def rerank(body: RerankRequest, caller: Caller) -> RerankResponse:
        """Documents by relevance to the query, best first."""
        service.require_rerank_model(body.model)
        texts = [doc if isinstance(doc, str) else doc.text for doc in body.documents]
        ranked = await service.pipeline.rerank(
            body.query,
            texts,
            body.max_tokens_per_doc or None,
            service.context(caller, body.deadline_ms),
        )
        return RerankResponse(
            id=f"rerank-{uuid.uuid4().hex}",
            model=service.rerank_model.name,
            results=_results(ranked, body, texts),
            usage=openai.TokenUsage.of(ranked.usage),
            meta={"api_version": {"version": "1"}, "billed_units": {"search_units": 1}},
        )

    return router


def _results(ranked: Ranked, body: RerankRequest, texts: list[str]) -> list[RerankResult]:
    return [
        RerankResult(
            index=index,
            relevance_score=score,
            document=DocumentText(text=texts[index]) if body.return_documents else None,
        )
        for index, score in ranked.order[: body.top_n or None]
    ]


def render_error(error: WinnowError, request_id: str) -> dict[str, Any]:
    return openai.render_error(error, request_id) | {
        "detail": error.message,
        "message": error.message,
        "id": request_id,
    }
