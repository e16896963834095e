"""Embed, retrieve, rerank: the stages of a request under one deadline.

Knows neither Ray nor HTTP nor a store: the stages are given as protocols, the clock comes with the
deadline. `router` puts handles behind the protocols, the tests and the simulator something else.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.autoscaling.arrivals import Arrivals
from deployments.errors import DeadlineExceeded, Overloaded, StageUnavailable
from deployments.request.context import Context
from deployments.request.deadline import Deadline, within
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from deployments.stores.base import Filter, Hit, IndexSearch, Namespace, Record, VectorQuery
from deployments.text.prompts import Cut

# What a search that may degrade forgives the reranker, and the time it keeps to answer without.
_DEGRADING = (DeadlineExceeded, Overloaded, StageUnavailable)
_TIME_TO_DEGRADE_S = 0.02


class TextEncoder(Protocol):
    """Text to token rows; with no `cut` a text that is too long raises InvalidRequest.

    What `keep` makes of documents spares `pairs` reading them again. Before anything is read,
    `text_tokens` and `pair_tokens` say about how many tokens the rows will have.
    """

    def text_tokens(self, texts: Sequence[str]) -> float: ...
    def pair_tokens(self, query: str, documents: Sequence[str]) -> float: ...

    async def queries(self, texts: Sequence[str], cut: Cut | None) -> TokenRows: ...
    async def documents(self, texts: Sequence[str], cut: Cut | None) -> TokenRows: ...
    async def pairs(
        self,
        query: str,
        documents: Sequence[str],
        max_tokens_per_doc: int | None,
        kept: Sequence[bytes | None] = (),
    ) -> TokenRows: ...
    async def keep(self, documents: Sequence[str]) -> list[bytes]: ...


class ModelStage(Protocol):
    def turn_away(self, tokens: float, deadline: Deadline, origin: Origin) -> None:
        """Once, before text of about so many tokens is read and its rows are computed: raises
        Overloaded if they are sure to be refused."""
        ...

    async def compute(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput: ...


class RetrieveStage(Protocol):
    def turn_away(self, deadline: Deadline, origin: Origin) -> None:
        """Before a query is embedded: raises Overloaded if its search would be refused now."""
        ...

    async def search(
        self, search: IndexSearch, deadline: Deadline, origin: Origin
    ) -> list[Hit]: ...


@dataclass(frozen=True, slots=True)
class Usage:
    """What a stage was given to do, and how much of it a cache spared the model."""

    tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Embedded:
    """Unit vectors, float32 [texts, dimensions], the fingerprint of the model they are of, and what
    they cost."""

    vectors: NDArray[np.float32]
    fingerprint: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Ranked:
    """(index of the document, relevance in [0, 1]), best first, and what it cost."""

    order: list[tuple[int, float]]
    usage: Usage


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """What to search for: `top_k` candidates, of which the best `top_n` are returned.

    `may_degrade`: should the reranker not answer in time, retrieval order will do.
    """

    ns: Namespace
    query: str
    top_k: int
    top_n: int
    where: Filter | None
    rerank: bool
    may_degrade: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """`relevance` is None when the search was not reranked."""

    record: Record
    retrieval: float
    relevance: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """`degraded` names the stages that were left out for want of time."""

    results: list[Result]
    embed: Usage
    rerank: Usage
    candidates: int
    degraded: tuple[str, ...] = ()


class Pipeline:
    def __init__(
        self,
        encoder: TextEncoder,
        embed_stage: ModelStage,
        retrieve_stage: RetrieveStage,
        rerank_stage: ModelStage,
        demand: Arrivals,
    ) -> None:
        self._encoder = encoder
        self._embed = embed_stage
        self._retrieve = retrieve_stage
        self._rerank = rerank_stage
        self._demand = demand

    async def embed_queries(
        self, texts: Sequence[str], cut: Cut | None, context: Context
    ) -> Embedded:
        """The texts as questions: with the model's query instruction."""
        self._embed.turn_away(self._encoder.text_tokens(texts), context.deadline, context.origin)
        rows = await self._tokenize(self._encoder.queries(texts, cut), context)
        return await self._embed_rows(rows, context)

    async def embed_documents(
        self, texts: Sequence[str], cut: Cut | None, context: Context
    ) -> Embedded:
        """The texts as they are."""
        self._embed.turn_away(self._encoder.text_tokens(texts), context.deadline, context.origin)
        rows = await self._tokenize(self._encoder.documents(texts, cut), context)
        return await self._embed_rows(rows, context)

    async def rerank(
        self,
        query: str,
        documents: Sequence[str],
        max_tokens_per_doc: int | None,
        context: Context,
    ) -> Ranked:
        """Every document's relevance to the query; equal scores keep the order they came in."""
        self._turn_away_pairs(self._encoder.pair_tokens(query, documents), context)
        pairs = self._encoder.pairs(query, documents, max_tokens_per_doc)
        rows = await self._tokenize(pairs, context)
        self._demand.add("rerank", context.origin.lane, rows.total_tokens)
        return await self._rank(rows, context)

    async def keep(self, documents: Sequence[str], context: Context) -> list[bytes]:
        """What a search will need of each document's tokens, to be stored beside it."""
        with context.timings.stage("tokenize"):
            return await within(context.deadline, self._encoder.keep(documents))

    async def _rank(self, rows: TokenRows, context: Context) -> Ranked:
        with context.timings.stage("rerank"):
            computed = await self._rerank.compute(rows, context.deadline, context.origin)
        order = np.argsort(-computed.values, kind="stable")
        scores = computed.values[order].tolist()
        usage = _usage("rerank", rows, computed, context)
        return Ranked(list(zip(order.tolist(), scores, strict=True)), usage)

    async def search(self, plan: SearchPlan, context: Context) -> Found:
        if plan.rerank:
            self._demand.search_begins(context.origin.lane, plan.top_k)
            if not plan.may_degrade:
                tokens = self._demand.rerank_tokens(plan.top_k)
                self._rerank.turn_away(tokens, context.deadline, context.origin)
        self._retrieve.turn_away(context.deadline, context.origin)
        asked = await self.embed_queries([plan.query], Cut(), context)
        with context.timings.stage("retrieve"):
            k = plan.top_k if plan.rerank else plan.top_n
            query = VectorQuery(plan.ns, asked.vectors[0], k, plan.where)
            hits = await self._retrieve.search(
                IndexSearch(query, asked.fingerprint), context.deadline, context.origin
            )
        as_retrieved = [Result(hit.record, hit.score, None) for hit in hits[: plan.top_n]]
        if not plan.rerank or not hits:
            return Found(as_retrieved, asked.usage, Usage(), len(hits))
        try:
            ranked = await self._rerank_hits(plan, hits, context)
        except _DEGRADING:
            if not plan.may_degrade:
                raise
            return Found(as_retrieved, asked.usage, Usage(), len(hits), degraded=("rerank",))
        best = ranked.order[: plan.top_n]
        results = [Result(hits[i].record, hits[i].score, score) for i, score in best]
        return Found(results, asked.usage, ranked.usage, len(hits))

    async def _rerank_hits(self, plan: SearchPlan, hits: Sequence[Hit], context: Context) -> Ranked:
        if plan.may_degrade:
            context = replace(context, deadline=context.deadline.earlier(_TIME_TO_DEGRADE_S))
            tokens = self._demand.rerank_tokens(len(hits))
            self._rerank.turn_away(tokens, context.deadline, context.origin)
        texts = [hit.record.text for hit in hits]
        pairs = self._encoder.pairs(plan.query, texts, None, [hit.record.tokens for hit in hits])
        rows = await self._tokenize(pairs, context)
        self._demand.search_reranked(plan.top_k, rows.total_tokens)
        return await self._rank(rows, context)

    def _turn_away_pairs(self, tokens: float, context: Context) -> None:
        try:
            self._rerank.turn_away(tokens, context.deadline, context.origin)
        except Overloaded:
            self._demand.add("rerank", context.origin.lane, tokens)  # it is asked for all the same
            raise

    async def _tokenize(self, encoding: Awaitable[TokenRows], context: Context) -> TokenRows:
        with context.timings.stage("tokenize"):
            rows = await within(context.deadline, encoding)
        await context.account.charge(rows.total_tokens)
        return rows

    async def _embed_rows(self, rows: TokenRows, context: Context) -> Embedded:
        with context.timings.stage("embed"):
            computed = await self._embed.compute(rows, context.deadline, context.origin)
        usage = _usage("embed", rows, computed, context)
        return Embedded(computed.values, computed.fingerprint, usage)


def _usage(stage: str, rows: TokenRows, computed: ModelOutput, context: Context) -> Usage:
    usage = Usage(rows.total_tokens, int(computed.cached_tokens.sum()))
    context.account.count(stage, usage.tokens, usage.cached_tokens)
    return usage
