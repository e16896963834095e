"""How a text becomes what a model was trained to read. Templates are data of a profile.

A template is cut where truncation may act: only the `text` of an embedding and the `document` of a
pair are ever shortened, so the tokens a model pools from (`suffix`) are always there. The pieces
`prefix`, `separator` and `suffix` may hold special tokens; the user's own text may not: a document
that spells `<|im_end|>` is read as those characters.

A tokenizer splits at the pieces' edges. Where that would tokenise differently than the whole
string (BPE joins a space to the word after it), the template puts the space in front of the later
piece, which gives the same ids as the model card's own code.

Knows no tokenizer: `tokenizer` applies these.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

# Which end of a text that is too long goes; NONE refuses it.
Truncation = Literal["NONE", "START", "END"]

DEFAULT_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


class EmbedTemplate(BaseModel):
    """One text: prefix + text + suffix, where a query's text is first put into `query`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: str = ""
    query: str = "{query}"
    suffix: str = ""
    instruction: str = DEFAULT_INSTRUCTION

    def query_text(self, query: str) -> str:
        return self._asked().replace("{query}", query)

    def query_starts(self) -> int:
        """Where in `query_text` the query itself begins, in characters."""
        return self._asked().index("{query}")

    def _asked(self) -> str:
        return self.query.replace("{instruction}", self.instruction)


class RerankTemplate(BaseModel):
    """One pair: prefix + query part + separator + document part + suffix.

    `segments` is true for models that tell the query from the document by token type ids; the
    second segment then begins after `separator`.
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
    """How a text that is too long is cut: to `max_tokens` (None: what the model reads), keeping
    its start or its end."""

    max_tokens: int | None = None
    keep: Literal["start", "end"] = "start"
