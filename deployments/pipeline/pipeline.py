"""Embed, retrieve, rerank: the stages of a request under one deadline.

Knows neither Ray nor HTTP nor a store: the stages are given as protocols, the clock comes with the
deadline. `router` puts handles behind the protocols, the tests and the simulator something else.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from deployments.autoscaling.arrivals import Arrivals
from deployments.errors import (
    DeadlineExceeded,
    InternalError,
    Overloaded,
    PayloadTooLarge,
    RowFailed,
    StageUnavailable,
)
from deployments.pipeline.stages import ModelStage, RetrieveStage, TextEncoder
from deployments.request.context import Context
from deployments.request.deadline import within
from deployments.rows.encoded_rows import EncodedRows
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from deployments.stores.base import Filter, Hit, IndexSearch, Namespace, Record, VectorQuery
from deployments.text.prompts import Cut

# Errors of the reranker that a search forgives if it may degrade, and the time that it keeps to
# answer without.
_DEGRADING = (DeadlineExceeded, Overloaded, RowFailed, StageUnavailable)
_TIME_TO_DEGRADE_S = 0.02
# Errors of a stage for whose work a tenant does not pay.
_NOT_DONE = (DeadlineExceeded, InternalError, Overloaded, PayloadTooLarge, StageUnavailable)

T = TypeVar("T")
Encoding = Coroutine[Any, Any, EncodedRows]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a stage was given, and how many of them a cache spared the model."""

    tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Embedded:
    """Unit vectors, float32 [texts, dimensions], the fingerprint of the model they are of, and what
    they cost. `truncated` has the indices of texts that were cut."""

    vectors: NDArray[np.float32]
    fingerprint: str
    usage: Usage
    truncated: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ranked:
    """(index of the document, relevance in [0, 1]), best first, and what it cost. `truncated` has
    the indices of documents that were cut."""

    order: list[tuple[int, float]]
    usage: Usage
    truncated: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """A search for `top_k` candidates, of which the best `top_n` are returned.

    `may_degrade`: should the reranker not answer in time, retrieval order will do. `instruction`
    takes the place of the profile's, for the models that read one.
    """

    ns: Namespace
    query: str
    top_k: int
    top_n: int
    where: Filter | None
    rerank: bool
    may_degrade: bool = False
    instruction: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """`relevance` is None when the search was not reranked."""

    record: Record
    retrieval: float
    relevance: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """`degraded` names the stages that were left out for want of time. The embedder read but a part
    of the query if `query_truncated`, the reranker but a part of so many candidates."""

    results: list[Result]
    embed: Usage
    rerank: Usage
    candidates: int
    degraded: tuple[str, ...] = ()
    query_truncated: bool = False
    candidates_truncated: int = 0


class Pipeline:
    def __init__(
        self,
        encoder: TextEncoder,
        embed_stage: ModelStage,
        retrieve_stage: RetrieveStage,
        rerank_stage: ModelStage,
        arrivals: Arrivals,
    ) -> None:
        self._encoder = encoder
        self._embed = embed_stage
        self._retrieve = retrieve_stage
        self._rerank = rerank_stage
        self._arrivals = arrivals

    async def embed_queries(
        self, texts: Sequence[str], cut: Cut | None, context: Context
    ) -> Embedded:
        """Embed the texts as questions: with the model's query instruction."""
        self._admit(context, embed=self._encoder.text_tokens(texts))
        return await self._embed_rows(self._encoder.queries(texts, cut, context.origin), context)

    async def embed_documents(
        self, texts: Sequence[str], cut: Cut | None, context: Context
    ) -> Embedded:
        """Embed the texts without an instruction."""
        self._admit(context, embed=self._encoder.text_tokens(texts))
        return await self._embed_rows(self._encoder.documents(texts, cut, context.origin), context)

    async def rerank(
        self,
        query: str,
        documents: Sequence[str],
        max_tokens_per_doc: int | None,
        context: Context,
        instruction: str | None = None,
    ) -> Ranked:
        """Every document's relevance to the query; equal scores keep the order they came in."""
        if instruction is not None:
            self._encoder.require_instruction(embed=False, rerank=True)
        self._admit(context, rerank=self._encoder.pair_tokens(query, documents))
        pairs = self._encoder.pairs(
            query, documents, max_tokens_per_doc, context.origin, instruction=instruction
        )
        return await self._rank(await self._tokenize(pairs, context), context)

    async def keep(self, documents: Sequence[str], context: Context) -> list[bytes]:
        """The tokens of each document that a search will need, to be stored beside it."""
        return await self._tokenize(self._encoder.keep(documents, context.origin), context)

    async def search(self, plan: SearchPlan, context: Context) -> Found:
        if plan.rerank:
            with self._arrivals.expecting(context.origin.lane, plan.top_k):
                asked, hits = await self._retrieve_candidates(plan, context)
        else:
            asked, hits = await self._retrieve_candidates(plan, context)
        as_retrieved = Found(
            [Result(hit.record, hit.score, None) for hit in hits[: plan.top_n]],
            asked.usage,
            Usage(),
            len(hits),
            query_truncated=bool(asked.truncated),
        )
        if not plan.rerank or not hits:
            return as_retrieved
        try:
            ranked = await self._rerank_hits(plan, hits, context)
        except _DEGRADING:
            if not plan.may_degrade:
                raise
            return replace(as_retrieved, degraded=("rerank",))
        best = ranked.order[: plan.top_n]
        return replace(
            as_retrieved,
            results=[Result(hits[i].record, hits[i].score, score) for i, score in best],
            rerank=ranked.usage,
            candidates_truncated=len(ranked.truncated),
        )

    async def _retrieve_candidates(
        self, plan: SearchPlan, context: Context
    ) -> tuple[Embedded, Sequence[Hit]]:
        if plan.instruction is not None:
            self._encoder.require_instruction(embed=True, rerank=plan.rerank)
        must_rerank = plan.rerank and not plan.may_degrade
        self._admit(
            context,
            embed=self._encoder.text_tokens([plan.query]),
            retrieve=True,
            rerank=self._arrivals.rerank_tokens(plan.top_k) if must_rerank else None,
        )
        if plan.rerank:
            long = self._encoder.refuse_long(plan.query, context.origin, plan.instruction)
            await self._tokenize(long, context)
        queries = self._encoder.queries([plan.query], Cut(), context.origin, plan.instruction)
        asked = await self._embed_rows(queries, context)
        k = plan.top_k if plan.rerank else plan.top_n
        query = VectorQuery(plan.ns, asked.vectors[0], k, plan.where)
        with context.timings.stage("retrieve"):
            found = await self._retrieve.search(
                IndexSearch(query, asked.fingerprint), context.deadline, context.origin
            )
            context.timings.ran(found.runs)
        return asked, found.hits

    async def _rerank_hits(self, plan: SearchPlan, hits: Sequence[Hit], context: Context) -> Ranked:
        if plan.may_degrade:
            context = replace(context, deadline=context.deadline.earlier(_TIME_TO_DEGRADE_S))
            self._admit(context, rerank=self._arrivals.rerank_tokens(len(hits)))
        texts = [hit.record.text for hit in hits]
        kept = [hit.record.tokens for hit in hits]
        pairs = self._encoder.pairs(plan.query, texts, None, context.origin, kept, plan.instruction)
        encoded = await self._tokenize(pairs, context)
        self._arrivals.reranked(plan.top_k, encoded.rows.total_tokens)
        return await self._rank(encoded, context)

    def _admit(
        self,
        context: Context,
        *,
        embed: float | None = None,
        retrieve: bool = False,
        rerank: float | None = None,
    ) -> None:
        """Raises Overloaded, before any work, if a stage that is needed would refuse it; `embed`
        and `rerank` are tokens, about."""
        deadline, origin = context.deadline, context.origin
        # The stage with the most work first: each that admits takes room for the request.
        if rerank is not None:
            self._rerank.admit(rerank, deadline, origin)
        if retrieve:
            self._retrieve.admit(deadline, origin)
        if embed is not None:
            self._embed.admit(embed, deadline, origin)

    async def _embed_rows(self, encoding: Encoding, context: Context) -> Embedded:
        encoded = await self._tokenize(encoding, context)
        with context.timings.stage("embed"):
            output = await _compute(self._embed, encoded.rows, context)
        usage = _usage("embed", encoded.rows, output, context)
        return Embedded(output.values, output.fingerprint, usage, encoded.truncated)

    async def _rank(self, encoded: EncodedRows, context: Context) -> Ranked:
        with context.timings.stage("rerank"):
            output = await _compute(self._rerank, encoded.rows, context)
        order = np.argsort(-output.values, kind="stable")
        scores = output.values[order].tolist()
        usage = _usage("rerank", encoded.rows, output, context)
        return Ranked(list(zip(order.tolist(), scores, strict=True)), usage, encoded.truncated)

    async def _tokenize(self, encoding: Coroutine[Any, Any, T], context: Context) -> T:
        with context.timings.stage("tokenize"):
            return await within(context.deadline, encoding)


async def _compute(stage: ModelStage, rows: TokenRows, context: Context) -> ModelOutput:
    """The stage's output, charged before it is computed, and only if it is."""
    await context.account.charge(rows.total_tokens)
    try:
        output = await stage.compute(rows, context.deadline, context.origin)
    except _NOT_DONE:
        await context.account.give_back(rows.total_tokens)
        raise
    except asyncio.CancelledError:
        # An outer deadline ends at the same moment as this one, and may be first.
        if context.deadline.is_over():
            await asyncio.shield(context.account.give_back(rows.total_tokens))
        raise
    context.timings.ran(output.runs)
    return output


def _usage(stage: str, rows: TokenRows, output: ModelOutput, context: Context) -> Usage:
    usage = Usage(rows.total_tokens, int(output.cached_tokens.sum()))
    context.account.count(stage, usage.tokens, usage.cached_tokens)
    return usage
