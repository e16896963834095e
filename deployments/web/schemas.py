"""Request and response bodies of Winnow's own routes: collections, documents, search, readiness.

Strict: an unknown field or a value of another type is an error that names the field. Knows no
routes; the bodies of other vendors' routes stand beside those in `dialects`.
"""

import json
import re
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from deployments.web.document_ids import DocumentId, StoredDocumentId
from deployments.web.metadata import Metadata, metadata_texts

MAX_TEXT_CHARACTERS = 1_000_000
MAX_DOCUMENTS_PER_CALL = 1_000
MAX_METADATA_BYTES = 16_384
MAX_TOP_K = 1_000
# A list of one or more of a handful of choices; some clients name one twice.
MAX_CHOICES = 16
# pydantic describes each fault of a body, for some microseconds and hundreds of bytes: of a body
# of megabytes that is seconds, and the answer names three.
_MAX_UNKNOWN = 10
MAX_DEADLINE_MS = 120_000

DeadlineMs = Annotated[int, Field(ge=1, le=MAX_DEADLINE_MS)]


class Wire(BaseModel):
    """Base of request bodies: no value is coerced, and an undeclared field is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _with_few_unknown(cls, body: Any) -> Any:
        """The body with the first of its undeclared fields alone, for these are errors."""
        if not isinstance(body, dict) or len(body) <= len(cls.model_fields) + _MAX_UNKNOWN:
            return body
        unknown = (name for name in body if name not in cls.model_fields)
        shown = {*cls.model_fields, *islice(unknown, _MAX_UNKNOWN)}
        return {name: value for name, value in body.items() if name in shown}


class WireQuery(BaseModel):
    """Base of query parameters: values are parsed from text, and an undeclared name is an error."""

    model_config = ConfigDict(extra="forbid")

    deadline_ms: DeadlineMs | None = None  # every route has it: guarded_route reads it


# Neither a space of any width, a control character, nor one that only formats (U+200B, U+FEFF).
_VISIBLE = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
)


def is_blank(text: str) -> bool:
    """True where no character of `text` leaves a mark on paper."""
    return _VISIBLE.search(text) is None


def without_nul(text: str) -> str:
    """The text itself; ValueError where it holds a NUL character, which no store keeps."""
    if "\x00" in text:
        raise ValueError("holds a NUL character (\\u0000): remove it")
    return text


def _visible(text: str) -> str:
    if is_blank(text):
        raise ValueError("is empty: send at least one character that can be seen")
    return text


Text = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_TEXT_CHARACTERS),
    AfterValidator(without_nul),
    AfterValidator(_visible),
]
# Some sentences: it costs its tokens with every document that is reranked.
Instruction = Annotated[Text, StringConstraints(max_length=2_000)]
CollectionName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class Document(Wire):
    """A document to store; `metadata` values are scalars, lists of strings or null."""

    id: DocumentId
    text: Text
    metadata: Metadata = {}

    @model_validator(mode="after")
    def _metadata_is_storable(self) -> "Document":
        if len(json.dumps(self.metadata)) > MAX_METADATA_BYTES:
            raise ValueError(f"metadata is larger than {MAX_METADATA_BYTES} bytes as JSON")
        if any("\x00" in text for text in metadata_texts(self.metadata)):
            raise ValueError("metadata holds a NUL character (\\u0000): remove it")
        return self


class UpsertRequest(Wire):
    documents: list[Document] = Field(min_length=1, max_length=MAX_DOCUMENTS_PER_CALL)
    deadline_ms: DeadlineMs | None = None


class UpsertResponse(BaseModel):
    """`upserted` documents, without duplicate ids, are on disk; `tokens` were embedded for them.
    `truncated` has the ids of documents longer than the embedder reads: they are stored whole, and
    found by their beginning alone."""

    upserted: int
    tokens: int
    truncated: list[str]


class GetDocumentsRequest(Wire):
    ids: list[StoredDocumentId] = Field(min_length=1, max_length=MAX_DOCUMENTS_PER_CALL)


class StoredDocument(BaseModel):
    id: str
    text: str
    metadata: dict[str, Any]


class GetDocumentsResponse(BaseModel):
    """One entry for each id, in order; null for an id that is not stored."""

    documents: list[StoredDocument | None]


class DocumentPage(BaseModel):
    """A page of documents; `cursor` requests the next one, null after the last."""

    documents: list[StoredDocument]
    cursor: str | None


class DeleteRequest(Wire):
    """Selects documents by ids or by a metadata filter, not both."""

    ids: list[StoredDocumentId] | None = Field(
        default=None, min_length=1, max_length=MAX_DOCUMENTS_PER_CALL
    )
    filter: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "DeleteRequest":
        if (self.ids is None) == (not self.filter):
            raise ValueError("give either ids or a filter that is not empty")
        return self


class DeleteResponse(BaseModel):
    deleted: int


class CollectionBody(BaseModel):
    """A collection; `fingerprint` identifies the model that made its vectors."""

    name: str
    dimensions: int
    fingerprint: str
    documents: int


class CollectionList(BaseModel):
    collections: list[CollectionBody]


class SearchRequest(Wire):
    """A search: `top_k` candidates are retrieved and reranked; the best `top_n` are returned.

    With `on_timeout: "retrieval_order"` a search that the reranker cannot serve in time returns
    the first `top_n` in retrieval order, with `degraded: ["rerank"]`. `instruction` says what the
    search is for, in place of the profile's, to the models that read one.
    """

    collection: CollectionName
    query: Text
    top_k: int = Field(default=50, ge=1, le=MAX_TOP_K)
    top_n: int = Field(default=10, ge=1, le=MAX_TOP_K)
    filter: dict[str, Any] | None = None
    rerank: bool = True
    on_timeout: Literal["error", "retrieval_order"] = "error"
    instruction: Instruction | None = None
    include: list[Literal["text", "metadata"]] = Field(
        default=["text", "metadata"], max_length=MAX_CHOICES
    )
    deadline_ms: DeadlineMs | None = None

    @model_validator(mode="after")
    def _results_are_candidates(self) -> "SearchRequest":
        if self.top_n > self.top_k:
            raise ValueError(
                f"top_n ({self.top_n}) is more than top_k ({self.top_k}): results are chosen from"
                " the top_k candidates, so raise top_k or lower top_n"
            )
        return self


class SearchResult(BaseModel):
    """A document found. `retrieval_score` is the cosine similarity of query and document;
    `relevance_score`, in [0, 1], is the reranker's, null for a search without reranking."""

    id: str
    text: str | None = None
    metadata: dict[str, Any] | None = None
    relevance_score: float | None
    retrieval_score: float


class SearchUsage(BaseModel):
    """Tokens by stage; `cached_tokens` of the total were served from a cache; `candidates` were
    retrieved."""

    embed_tokens: int
    rerank_tokens: int
    total_tokens: int
    cached_tokens: int
    candidates: int


class SearchTruncation(BaseModel):
    """Whether the query is longer than the embedder reads, and how many candidates are longer than
    the reranker does: of those texts the beginning alone was read."""

    query: bool
    candidates: int


class SearchResponse(BaseModel):
    """Results, best first. `timings_ms` has every stage and the total, like the Server-Timing
    header; `degraded` names the stages that were skipped for lack of time. `truncated` is there if
    a text was not read to its end."""

    results: list[SearchResult]
    degraded: list[str] = []
    truncated: SearchTruncation | None = None
    usage: SearchUsage
    timings_ms: dict[str, float]


class StageReadiness(BaseModel):
    """One stage; `detail` says why it is not ready, why a replica that it should have does not
    start while others serve, or that it has scaled to zero."""

    ready: bool
    model: str | None = None
    fingerprint: str | None = None
    durability: str | None = None
    queued_rows: int | None = None
    queued_tokens: int | None = None
    detail: str | None = None


class ReplicaBody(BaseModel):
    """A replica's queue, and what it has done since its start. Costs are tokens at a model stage,
    and estimated milliseconds of the store at the index."""

    model_config = ConfigDict(from_attributes=True)

    replica: str
    queued_rows: int
    queued_cost: float
    oldest_wait_s: float
    batches_done: int
    cost_done: int


class ReplicaList(BaseModel):
    """The replicas of each stage; `silent` names stages of which one did not answer in time."""

    stages: dict[str, list[ReplicaBody]]
    silent: list[str]


class Readiness(BaseModel):
    """Ready when every stage is. `stages` is empty without a key with the scope `admin`; queue
    lengths in it are those of the one replica that answered."""

    ready: bool
    stages: dict[str, StageReadiness] = {}
