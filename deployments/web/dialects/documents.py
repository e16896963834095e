"""The documents of a rerank request: texts or objects, what of them is ranked, and the ranking.

Blank documents are no reason to refuse the others: they come last, with a relevance of 0.
"""

from collections.abc import Sequence
from math import ceil
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag

from deployments.errors import InvalidRequest, RowFailed
from deployments.pipeline.pipeline import Pipeline, Ranked
from deployments.request.context import Context
from deployments.web.dialects.shared_fields import MAX_DOCUMENTS, VendorObject
from deployments.web.schemas import MAX_TEXT_CHARACTERS, is_blank, without_nul

_TEXT = "text"
_DOCUMENTS_PER_UNIT = 100
_MAX_RANK_FIELDS = 100  # they are looked for in every document

DocumentText = Annotated[
    str, StringConstraints(max_length=MAX_TEXT_CHARACTERS), AfterValidator(without_nul)
]


class ObjectDocument(VendorObject):
    """Its `text` is ranked, or the fields that `rank_fields` names."""

    text: DocumentText | None = None


def _form(document: Any) -> str:
    return "as object" if isinstance(document, dict | ObjectDocument) else "as text"


Document = Annotated[
    Annotated[DocumentText, Tag("as text")] | Annotated[ObjectDocument, Tag("as object")],
    Discriminator(_form),
]
Documents = Annotated[list[Document], Field(min_length=1, max_length=MAX_DOCUMENTS)]
RankFields = Annotated[list[str], Field(min_length=1, max_length=_MAX_RANK_FIELDS)]


def document_texts(documents: Sequence[Document], rank_fields: Sequence[str] | None) -> list[str]:
    """The text that is ranked of each document: a text itself; of an object the fields of
    `rank_fields` in their order, one a line. Raises InvalidRequest for an object that has none of
    them."""
    # Each once: a field named a hundred times would make a text of a hundred times its length.
    names = tuple(dict.fromkeys(rank_fields or (_TEXT,)))
    return [
        document if isinstance(document, str) else _object_text(index, document, names)
        for index, document in enumerate(documents)
    ]


def returned_document(document: Document, text: str) -> dict[str, Any]:
    """The document as clients get it back: what they sent, with a `text` in any case."""
    if isinstance(document, str):
        return {_TEXT: document}
    given = document.model_dump(exclude_none=True)
    return {_TEXT: text} | given


async def rank(
    pipeline: Pipeline,
    query: str,
    texts: Sequence[str],
    max_tokens_per_doc: int | None,
    context: Context,
    instruction: str | None = None,
) -> Ranked:
    """`Pipeline.rerank` of the texts that are not blank; the blank ones follow with a relevance
    of 0. Raises InvalidRequest where all are blank."""
    visible = [index for index, text in enumerate(texts) if not is_blank(text)]
    if not visible:
        raise InvalidRequest(
            "all documents are empty: send at least one that holds text", param="documents"
        )
    try:
        ranked = await pipeline.rerank(
            query, [texts[index] for index in visible], max_tokens_per_doc, context, instruction
        )
    except RowFailed as failure:  # it counts the rows that are ranked, the caller those it sent
        raise RowFailed.at(visible[failure.row], "rerank") from None
    order = [(visible[index], score) for index, score in ranked.order]
    blank = sorted(set(range(len(texts))) - set(visible))
    truncated = tuple(visible[index] for index in ranked.truncated)
    return Ranked([*order, *((index, 0.0) for index in blank)], ranked.usage, truncated)


def _object_text(index: int, document: ObjectDocument, names: Sequence[str]) -> str:
    _require_writable(index, document)
    held = document.model_dump(exclude_none=True)
    found = [_line(held[name]) for name in names if name in held]
    if not found:
        wanted = " or ".join(names)
        raise InvalidRequest(
            f"'documents.{index}' has no field {wanted}: give it, or name in rank_fields those by"
            " which documents are ranked",
            param=f"documents.{index}.{names[0]}",
        )
    text = "\n".join(found)
    if "\x00" in text or len(text) > MAX_TEXT_CHARACTERS:
        raise InvalidRequest(
            f"'documents.{index}' holds a NUL character (\\u0000) or more than"
            f" {MAX_TEXT_CHARACTERS} characters: remove it, or shorten it",
            param=f"documents.{index}",
        )
    return text


def _require_writable(index: int, document: ObjectDocument) -> None:
    """Raises InvalidRequest for a document that could not be handed back: orjson reads a thousand
    levels and writes 254."""
    try:
        orjson.dumps([[[document.model_extra]]])  # an answer has as many levels above it
    except TypeError:
        raise InvalidRequest(
            f"'documents.{index}' is nested too deeply: flatten it", param=f"documents.{index}"
        ) from None


def _line(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def search_units(texts: Sequence[str]) -> int:
    """Cohere's unit of a bill: one for each hundred documents of a request, or a part of it."""
    return ceil(len(texts) / _DOCUMENTS_PER_UNIT)
