"""Stand-ins for the parts that a Pipeline calls: its encoder, its stages and an account."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from deployments.autoscaling.arrivals import Arrivals
from deployments.errors import InvalidRequest, Overloaded
from deployments.pipeline.pipeline import Pipeline
from deployments.request.context import Account, Context
from deployments.request.deadline import Deadline
from deployments.request.origin import Origin
from deployments.request.timings import Timings
from deployments.rows.encoded_rows import EncodedRows
from deployments.rows.model_output import ModelOutput
from deployments.rows.searches import Retrieved
from deployments.rows.token_rows import TokenRows
from deployments.stores.base import Hit, IndexSearch, Record
from deployments.text.prompts import Cut

DEADLINE_S = 10.0
LONGEST = 100


class Letters:
    """A TextEncoder: a token a letter, LONGEST of them at most. Notes the kept tokens that pairs
    came with, and how many texts it has read."""

    def __init__(self) -> None:
        self.kept: Sequence[bytes | None] = ()
        self.read = 0
        self.instructions: list[str | None] = []

    def require_instruction(self, embed: bool, rerank: bool) -> None:
        if not embed:
            raise InvalidRequest("the reranker reads none", param="instruction")
        assert rerank

    async def queries(
        self,
        texts: Sequence[str],
        cut: Cut | None,  # noqa: ARG002
        origin: Origin,  # noqa: ARG002
        instruction: str | None = None,
    ) -> EncodedRows:
        self.instructions.append(instruction)
        self.read += len(texts)
        rows = TokenRows.pack([list(text.encode()[:LONGEST]) for text in texts])
        return EncodedRows(rows, tuple(n for n, text in enumerate(texts) if len(text) > LONGEST))

    async def documents(self, texts: Sequence[str], cut: Cut | None, origin: Origin) -> EncodedRows:
        return await self.queries(texts, cut, origin)

    async def pairs(
        self,
        query: str,
        documents: Sequence[str],
        max_tokens_per_doc: int | None,  # noqa: ARG002
        origin: Origin,
        kept: Sequence[bytes | None] = (),
        instruction: str | None = None,
    ) -> EncodedRows:
        self.kept = kept
        pairs = [query + text for text in documents]
        return await self.queries(pairs, None, origin, instruction)

    def text_tokens(self, texts: Sequence[str]) -> float:
        return sum(map(len, texts))

    def pair_tokens(self, query: str, documents: Sequence[str]) -> float:
        return self.text_tokens([query + text for text in documents])

    async def refuse_long(
        self,
        query: str,
        origin: Origin,  # noqa: ARG002
        instruction: str | None = None,  # noqa: ARG002
    ) -> None:
        if len(query) > 10:
            raise InvalidRequest("the query is too long", param="query")

    async def keep(self, documents: Sequence[str], origin: Origin) -> list[bytes]:  # noqa: ARG002
        return [text.encode() for text in documents]


@dataclass
class Stage:
    """A ModelStage: the longest row gets the most. `failure` is raised instead, if there is one;
    `refusal` before that."""

    failure: Exception | None = None
    refusal: Overloaded | None = None
    deadlines: list[Deadline] = field(default_factory=list)

    def admit(self, tokens: float, deadline: Deadline, origin: Origin) -> None:  # noqa: ARG002
        if self.refusal:
            raise self.refusal

    async def compute(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:  # noqa: ARG002
        self.deadlines.append(deadline)
        if self.failure:
            raise self.failure
        return ModelOutput.uncached(rows.lengths.astype(np.float32)).with_fingerprint("model")


class Shelf:
    """A RetrieveStage that finds three documents, and notes what was asked and how much rerank work
    was foreseen then."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.asked: list[IndexSearch] = []
        self.foreseen: list[float] = []
        self.failure: Exception | None = None
        self.full = False
        self._arrivals = arrivals

    def admit(self, deadline: Deadline, origin: Origin) -> None:  # noqa: ARG002
        if self.full:
            raise Overloaded("full")

    async def search(self, search: IndexSearch, deadline: Deadline, origin: Origin) -> Retrieved:  # noqa: ARG002
        self.asked.append(search)
        self.foreseen.append(self._arrivals.to_stats()["rerank_interactive_tokens_per_s"])
        if self.failure:
            raise self.failure
        texts = ["a", "bbb", "cc"]
        records = [Record(text, text, {}, tokens=text.encode()) for text in texts]
        return Retrieved([Hit(record, 0.5) for record in records])


class Unmetered:
    """An Account without limit, that no one reads."""

    async def charge(self, tokens: int) -> None: ...

    async def give_back(self, tokens: int) -> None: ...

    def count(self, stage: str, tokens: int, cached_tokens: int) -> None: ...


@dataclass
class Stand:
    encoder: Letters = field(default_factory=Letters)
    embed: Stage = field(default_factory=Stage)
    rerank: Stage = field(default_factory=Stage)
    arrivals: Arrivals = field(default_factory=lambda: Arrivals(lambda: 0.0))

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.arrivals)

    def pipeline(self) -> Pipeline:
        return Pipeline(self.encoder, self.embed, self.shelf, self.rerank, self.arrivals)


def context(account: Account | None = None) -> Context:
    deadline = Deadline(DEADLINE_S, lambda: 0.0)
    account = account or Unmetered()
    return Context(Origin("acme", "interactive"), deadline, Timings(lambda: 0.0), account)
