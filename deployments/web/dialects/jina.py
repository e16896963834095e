"""/v1/rerank, in the shape that Jina, Cohere's first version, vLLM, Voyage and infinity share.

The answer holds what each of their clients reads: `results` with documents as objects and `usage`
(Jina, vLLM), `meta` (Cohere), `data` (Voyage). Infinity's alone want something else in the same
place, and get it where they can be told from the others.
"""

import uuid
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, model_validator

from deployments.errors import WinnowError
from deployments.pipeline.pipeline import Ranked
from deployments.web.auth import Caller
from deployments.web.dialects import openai
from deployments.web.dialects.documents import (
    Documents,
    RankFields,
    document_texts,
    rank,
    returned_document,
    search_units,
)
from deployments.web.dialects.shared_fields import (
    Refused,
    RelevantDocument,
    VendorBody,
    answer,
    only,
    only_one_of,
)
from deployments.web.guarded_route import Guard
from deployments.web.schemas import Instruction, Text
from deployments.web.service import Service

_TEMPLATE = "the template is the profile's; send an 'instruction'"


class RerankRequest(VendorBody):
    """`top_n` and `max_tokens_per_doc` of 0, as vLLM's clients send them, set no limit; `top_k` is
    Voyage's name for `top_n`. Of documents that are objects, `rank_fields` are ranked ("text" where
    it is left out). A document is never split. `instruction` (or `instruct`) takes the place of the
    profile's, where the model reads one. Blank documents come last, with a relevance of 0.
    Fields that are not listed are ignored, and named in the answer's header
    x-winnow-ignored-fields.

    Documents are returned unless the request is infinity's (`raw_scores`) or Voyage's (`top_k`,
    `truncation`), whose servers leave them out where they are not asked for.
    """

    zero_is_absent: ClassVar[frozenset[str]] = frozenset({"top_n", "top_k", "max_tokens_per_doc"})

    query: Text
    documents: Documents
    model: str | None = None
    top_n: int | None = Field(default=None, ge=1)
    top_k: int | None = Field(default=None, ge=1)
    return_documents: bool | None = None
    max_tokens_per_doc: int | None = Field(default=None, ge=1)
    rank_fields: RankFields | None = None
    raw_scores: Annotated[bool, only(False, "scores are relevances in [0, 1]")] = False
    truncation: Annotated[bool, only(True, "a document that is too long is cut")] = True
    truncate_prompt_tokens: Annotated[
        int, only(-1, "a pair may be as long as the model reads; max_tokens_per_doc cuts documents")
    ] = -1
    truncation_side: Annotated[str, only("right", "a document is cut at its end")] = "right"
    max_tokens_per_query: Annotated[Any, Refused("a query that is too long is refused")] = None
    instruction: Instruction | None = None
    instruct: Instruction | None = None
    chat_template_kwargs: Annotated[Any, Refused(_TEMPLATE)] = None

    @model_validator(mode="after")
    def _says_nothing_twice(self) -> "RerankRequest":
        only_one_of(self, "top_n", "top_k")
        only_one_of(self, "instruction", "instruct")
        return self


class DocumentText(BaseModel):
    text: str


class RerankResult(RelevantDocument):
    """`document` is what was sent, with a `text` in any case; a string for infinity's clients."""

    document: DocumentText | str | None = None


class VoyageResult(RelevantDocument):
    """`document` is there for Voyage's clients who ask for it."""

    document: str | None = None


class RerankResponse(BaseModel):
    """`data` repeats `results` for Voyage's clients. `object` is "rerank" for infinity's."""

    id: str
    object: Literal["list", "rerank"] = "list"
    model: str
    results: list[RerankResult]
    data: list[VoyageResult]
    usage: openai.TokenUsage
    meta: dict[str, Any]


class ErrorBody(openai.ErrorBody):
    """OpenAI's, with `detail` where Jina's clients look and `message` where Cohere's do."""

    detail: str
    message: str
    id: str


def routes(service: Service, guarded: Guard) -> APIRouter:
    router = APIRouter(route_class=guarded("read"), tags=["Jina, Cohere v1"])

    async def ranked(body: RerankRequest, caller: Caller, vendor: str) -> Response:
        service.require_rerank_model(body.model)
        texts = document_texts(body.documents, body.rank_fields)
        context = service.context(caller, body.deadline_ms)
        pipeline, limit = service.pipeline, body.max_tokens_per_doc
        instruction = body.instruction or body.instruct
        done = await rank(pipeline, body.query, texts, limit, context, instruction)
        content = _content(done, body, texts, vendor)
        content |= {"model": service.rerank_model.name}
        return answer(content, body, done.truncated)

    # Without a version it is vLLM's and infinity's.
    @router.post("/rerank", include_in_schema=False)
    @router.post("/v1/rerank", response_model=RerankResponse)
    async def rerank(body: RerankRequest, caller: Caller) -> Response:
        """Documents by relevance to the query, best first. Also at `/rerank`."""
        return await ranked(body, caller, _vendor(body))

    @router.post("/infinity/rerank", include_in_schema=False)
    async def infinity_rerank(body: RerankRequest, caller: Caller) -> Response:
        """The same for clients of infinity that send nothing by which they are known."""
        return await ranked(body, caller, "infinity")

    return router


def _vendor(body: RerankRequest) -> str:
    """The client's vendor, where the fields of its request tell."""
    given = body.model_fields_set
    if "raw_scores" in given:
        return "infinity"
    return "voyage" if given & {"top_k", "truncation"} else "any"


def _content(ranked: Ranked, body: RerankRequest, texts: list[str], vendor: str) -> dict[str, Any]:
    """A RerankResponse for orjson to write, but for the model."""
    returned = vendor == "any" if body.return_documents is None else body.return_documents
    chosen = ranked.order[: body.top_n or body.top_k]
    scores = [{"index": index, "relevance_score": score} for index, score in chosen]

    def with_documents(as_text: bool) -> list[dict[str, Any]]:
        documents = (
            texts[index] if as_text else returned_document(body.documents[index], texts[index])
            for index, _ in chosen
        )
        return [
            one | {"document": document} for one, document in zip(scores, documents, strict=True)
        ]

    return {
        "id": f"rerank-{uuid.uuid4().hex}",
        "object": "rerank" if vendor == "infinity" else "list",
        "results": with_documents(vendor == "infinity") if returned else scores,
        "data": with_documents(True) if returned and vendor == "voyage" else scores,
        "usage": openai.TokenUsage.of(ranked.usage).model_dump(),
        "meta": {
            "api_version": {"version": "1"},
            "billed_units": {"search_units": search_units(texts)},
        },
    }


def render_error(error: WinnowError, request_id: str) -> dict[str, Any]:
    return openai.render_error(error, request_id) | {
        "detail": error.message,
        "message": error.message,
        "id": request_id,
    }
