"""Protocols of the stages that the pipeline asks: a tokenizer, two models and an index.

Knows no implementation: `router` gives handles, the tests and the simulator something else.
"""

from collections.abc import Sequence
from typing import Protocol

from deployments.request.deadline import Deadline
from deployments.request.origin import Origin
from deployments.rows.encoded_rows import EncodedRows
from deployments.rows.model_output import ModelOutput
from deployments.rows.searches import Retrieved
from deployments.rows.token_rows import TokenRows
from deployments.stores.base import IndexSearch
from deployments.text.prompts import Cut


class TextEncoder(Protocol):
    """Text to token rows; with no `cut` a text that is too long raises InvalidRequest.

    `keep` makes of documents what spares `pairs` tokenising them again. `refuse_long` raises
    InvalidRequest for a query that `pairs` would refuse, `require_instruction` unless a model that
    is needed reads one; an instruction of None is the profile's. `text_tokens` and
    `pair_tokens` estimate the tokens of the rows before anything is tokenised. Long work of one
    `origin` does not hold up another's.
    """

    def text_tokens(self, texts: Sequence[str]) -> float: ...
    def pair_tokens(self, query: str, documents: Sequence[str]) -> float: ...

    def require_instruction(self, embed: bool, rerank: bool) -> None: ...

    async def queries(
        self, texts: Sequence[str], cut: Cut | None, origin: Origin, instruction: str | None = None
    ) -> EncodedRows: ...
    async def documents(
        self, texts: Sequence[str], cut: Cut | None, origin: Origin
    ) -> EncodedRows: ...
    async def pairs(
        self,
        query: str,
        documents: Sequence[str],
        max_tokens_per_doc: int | None,
        origin: Origin,
        kept: Sequence[bytes | None] = (),
        instruction: str | None = None,
    ) -> EncodedRows: ...
    async def keep(self, documents: Sequence[str], origin: Origin) -> list[bytes]: ...
    async def refuse_long(
        self, query: str, origin: Origin, instruction: str | None = None
    ) -> None: ...


class ModelStage(Protocol):
    def admit(self, tokens: float, deadline: Deadline, origin: Origin) -> None:
        """Raises Overloaded if work of about so many tokens is sure to be refused."""
        ...

    async def compute(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput: ...


class RetrieveStage(Protocol):
    def admit(self, deadline: Deadline, origin: Origin) -> None:
        """Raises Overloaded or StageUnavailable if a search is sure to be refused."""
        ...

    async def search(self, search: IndexSearch, deadline: Deadline, origin: Origin) -> Retrieved:
        """Hits, best first."""
        ...
