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
from typing import Literal

from pydantic import BaseModel, ConfigDict

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

    def query_text(self, query: str) -> str:
        return self._query_format().replace("{query}", query)

    def query_starts(self) -> int:
        """Return the character of `query_text` at which the query itself begins."""
        return self._query_format().index("{query}")

    def _query_format(self) -> str:
        return self.query.replace("{instruction}", self.instruction)


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

    def query_text(self, query: str) -> str:
        return self.query.replace("{instruction}", self.instruction).replace("{query}", query)

    def document_text(self, document: str) -> str:
        return self.document.replace("{document}", document)


@dataclass(frozen=True, slots=True)
class Cut:
    """Truncation of a long text to `max_tokens`, keeping its start or its end.

    None is the model's own limit.
    """

    max_tokens: int | None = None
    keep: Literal["start", "end"] = "start"
