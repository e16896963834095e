"""Prompt templates: the format in which a model was trained to read texts and pairs.

Templates are part of a profile. They consist of pieces, because only the text of an embedding and
the document of a pair are ever truncated: the tokens that a model pools from (`suffix`) always
remain. `prefix`, `separator` and `suffix` may contain special tokens. The user's text may not: a
document with `<|im_end|>` is read as those characters.

Each piece is tokenised by itself. Where that would differ from tokenising the whole string (BPE
joins a space to the word after it), the template puts the space at the start of the later piece,
which gives the same ids as the model card's code.

Knows no tokenizer: `tokenizer` applies the templates.
"""

from dataclasses import dataclass
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

# Which end of a text that is too long goes; NONE refuses it.
Truncation = Literal["NONE", "START", "END"]

DEFAULT_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


class EmbedTemplate(BaseModel):
    """The format of a text to embed: prefix + text + suffix; a query's text is put into `query`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: str = ""
    query: str = "{query}"
    suffix: str = ""
    instruction: str = DEFAULT_INSTRUCTION

    @model_validator(mode="after")
    def _has_its_place(self) -> Self:
        _require_place("query", self.query)
        return self

    def query_text(self, query: str) -> str:
        before, after = _around_query(self)
        return before + query + after

    def query_starts(self) -> int:
        """Return the character of `query_text` at which the query itself begins."""
        return len(_around_query(self)[0])


class RerankTemplate(BaseModel):
    """The format of a pair to score: prefix + query + separator + document + suffix.

    `segments` is for models that tell query and document apart by token type ids; the second
    segment begins after `separator`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: str = ""
    query: str = "{query}"
    separator: str = ""
    document: str = "{document}"
    suffix: str = ""
    instruction: str = DEFAULT_INSTRUCTION
    segments: bool = False

    @model_validator(mode="after")
    def _has_its_places(self) -> Self:
        _require_place("query", self.query)
        _require_place("document", self.document)
        return self

    def query_text(self, query: str) -> str:
        before, after = _around_query(self)
        return before + query + after

    def document_text(self, document: str) -> str:
        return self.document.replace("{document}", document)


_T = TypeVar("_T", EmbedTemplate, RerankTemplate)


def takes_instruction(template: EmbedTemplate | RerankTemplate) -> bool:
    return "{instruction}" in template.query


def instructed(template: _T, instruction: str | None) -> _T:
    """Return the template with another instruction than the profile's; itself for None."""
    return template.model_copy(update={"instruction": instruction}) if instruction else template


def _around_query(template: EmbedTemplate | RerankTemplate) -> tuple[str, str]:
    """Return what stands before and after the query. An instruction may hold any characters."""
    before, _, after = template.query.partition("{query}")
    return (
        before.replace("{instruction}", template.instruction),
        after.replace("{instruction}", template.instruction),
    )


def _require_place(field: str, text: str) -> None:
    if text.count(f"{{{field}}}") != 1:
        raise ValueError(f"'{field}' needs '{{{field}}}' once, where the {field} is to stand")


@dataclass(frozen=True, slots=True)
class Cut:
    """Truncation of a long text to `max_tokens`, keeping its start or its end.

    None is the model's own limit.
    """

    max_tokens: int | None = None
    keep: Literal["start", "end"] = "start"
