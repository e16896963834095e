"""The wire contract of Winnow's own routes: collections, documents, search.

Strict on purpose: an unknown field or a value of another type is an error that names it. The
shapes of other vendors live beside their routes in `dialects`.
"""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

MAX_TEXT_CHARACTERS = 1_000_000
MAX_DOCUMENTS_PER_CALL = 1_000
MAX_METADATA_BYTES = 16_384
MAX_TOP_K = 1_000
MAX_DEADLINE_MS = 120_000

DeadlineMs = Annotated[int, Field(ge=1, le=MAX_DEADLINE_MS)]


class Wire(BaseModel):
    """A body as it arrives: nothing is coerced, and a field that is not declared is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class WireQuery(BaseModel):
    """Query parameters as they arrive, as text; one that is not declared is an error."""

    model_config = ConfigDict(extra="forbid")

    deadline_ms: DeadlineMs | None = None  # of every route (see `api.route`)


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
DocumentId = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,256}$")]
CollectionName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class Document(Wire):
    """A document of a collection; `metadata` values are scalars, lists of strings or null."""

    id: DocumentId
    text: Text
    metadata: dict[str, str | int | float | bool | list[str] | None] = {}

    @model_validator(mode="after")
    def _metadata_is_storable(self) -> "Document":
        if len(json.dumps(self.metadata)) > MAX_METADATA_BYTES:
            raise ValueError(f"metadata is larger than {MAX_METADATA_BYTES} bytes as JSON")
        if any("\x00" in text for text in self._metadata_texts()):
            raise ValueError("metadata holds a NUL character (\\u0000): remove it")
        return self

    def _metadata_texts(self) -> Iterator[str]:
        for key, value in self.metadata.items():
            yield key
            if isinstance(value, str):
                yield value
            elif isinstance(value, list):
                yield from value


class UpsertRequest(Wire):
    documents: list[Document] = Field(min_length=1, max_length=MAX_DOCUMENTS_PER_CALL)
    deadline_ms: DeadlineMs | None = None


class UpsertResponse(BaseModel):
    """Every document was stored and is on disk. `tokens` were embedded."""

    upserted: int
    tokens: int


class GetDocumentsRequest(Wire):
    ids: list[DocumentId] = Field(min_length=1, max_length=MAX_DOCUMENTS_PER_CALL)


class StoredDocument(BaseModel):
    id: str
    text: str
    metadata: dict[str, Any]


class GetDocumentsResponse(BaseModel):
    """In the order asked for, null for what is not there."""

    documents: list[StoredDocument | None]


class DocumentPage(BaseModel):
    """`cursor` asks for the next page; null after the last."""

    documents: list[StoredDocument]
    cursor: str | None


class DeleteRequest(Wire):
    """By ids or by filter, not both."""

    ids: list[DocumentId] | None = Field(
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
    """`fingerprint` names the model whose vectors the collection holds."""

    name: str
    dimensions: int
    fingerprint: str
    documents: int


class CollectionList(BaseModel):
    collections: list[CollectionBody]


class SearchRequest(Wire):
    """`top_k` candidates are retrieved and reranked; the best `top_n` are returned.

    With `on_timeout: "retrieval_order"` a search whose reranker has no time or no room for it
    returns the best retrieved, and says `degraded: ["rerank"]`.
    """

    collection: CollectionName
    query: Text
    top_k: int = Field(default=50, ge=1, le=MAX_TOP_K)
    top_n: int = Field(default=10, ge=1, le=MAX_TOP_K)
    filter: dict[str, Any] | None = None
    rerank: bool = True
    on_timeout: Literal["error", "retrieval_order"] = "error"
    include: list[Literal["text", "metadata"]] = ["text", "metadata"]
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
    """`retrieval_score` is the cosine of query and document; `relevance_score`, in [0, 1], is the
    reranker's and null when the search was not reranked."""

    id: str
    text: str | None = None
    metadata: dict[str, Any] | None = None
    relevance_score: float | None
    retrieval_score: float


class SearchUsage(BaseModel):
    """Tokens of each stage, how many of them a cache spared the models, and the candidates that
    were retrieved."""

    embed_tokens: int
    rerank_tokens: int
    total_tokens: int
    cached_tokens: int
    candidates: int


class SearchResponse(BaseModel):
    """`timings_ms` has every stage and the total, as the Server-Timing header does; `degraded` the
    stages that were left out for want of time, if the request allowed that."""

    results: list[SearchResult]
    degraded: list[str] = []
    usage: SearchUsage
    timings_ms: dict[str, float]


class StageReadiness(BaseModel):
    ready: bool
    model: str | None = None
    fingerprint: str | None = None
    durability: str | None = None
    queued_rows: int | None = None
    queued_tokens: int | None = None
    detail: str | None = None


class Readiness(BaseModel):
    """Ready when every stage is. Queue figures are those of the one replica that answered."""

    ready: bool
    stages: dict[str, StageReadiness]
