"""A search through stages that are given: what reaches them, what is left out for want of time."""

import asyncio
import time
from dataclasses import replace

import pytest

from deployments.errors import (
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    NotFound,
    Overloaded,
    StageUnavailable,
)
from deployments.pipeline.pipeline import SearchPlan
from deployments.request.deadline import Deadline, within
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from deployments.stores.base import Namespace
from tests.unit.pipeline.stand_ins import DEADLINE_S, Stage, Stand, Unmetered, context

NS = Namespace("acme", "notes")


def plan(*, rerank: bool = True, may_degrade: bool = False) -> SearchPlan:
    return SearchPlan(NS, "q", 3, 2, None, rerank, may_degrade)


class Metered(Unmetered):
    """An Account that notes what a request is charged."""

    def __init__(self) -> None:
        self.charged = 0

    async def charge(self, tokens: int) -> None:
        self.charged += tokens

    async def give_back(self, tokens: int) -> None:
        self.charged -= tokens


async def test_candidates_are_reranked_and_the_best_returned() -> None:
    stand = Stand()
    found = await stand.pipeline().search(plan(), context())
    assert [(one.record.id, one.relevance) for one in found.results] == [("bbb", 4.0), ("cc", 3.0)]
    assert found.candidates == 3
    assert found.degraded == ()
    assert stand.shelf.asked[0].query.k == 3
    assert stand.shelf.asked[0].fingerprint == "model"


async def test_the_tokens_kept_with_candidates_are_used() -> None:
    stand = Stand()
    await stand.pipeline().search(plan(), context())
    assert stand.encoder.kept == [b"a", b"bbb", b"cc"]


async def test_without_rerank_only_the_results_are_retrieved() -> None:
    stand = Stand()
    await stand.pipeline().search(plan(rerank=False), context())
    assert stand.shelf.asked[0].query.k == 2
    assert not stand.rerank.deadlines


@pytest.mark.parametrize("failure", [DeadlineExceeded("!"), Overloaded("!"), StageUnavailable("!")])
async def test_a_search_that_may_degrade_returns_retrieval_order(failure: Exception) -> None:
    found = await Stand(rerank=Stage(failure)).pipeline().search(plan(may_degrade=True), context())
    assert [(one.record.id, one.relevance) for one in found.results] == [("a", None), ("bbb", None)]
    assert found.degraded == ("rerank",)
    assert found.candidates == 3


async def test_it_keeps_time_to_answer_without_the_reranker() -> None:
    stand = Stand()
    await stand.pipeline().search(plan(may_degrade=True), context())
    await stand.pipeline().search(plan(), context())
    first, second = (deadline.at_s for deadline in stand.rerank.deadlines)
    assert first < second == DEADLINE_S


@pytest.mark.parametrize(
    ("failure", "may_degrade"), [(Overloaded("!"), False), (InternalError("!"), True)]
)
async def test_other_failures_are_told(failure: Exception, may_degrade: bool) -> None:
    stand = Stand(rerank=Stage(failure))
    with pytest.raises(type(failure)):
        await stand.pipeline().search(plan(may_degrade=may_degrade), context())


async def test_a_query_that_the_reranker_cannot_read_is_not_embedded() -> None:
    stand, long = Stand(), replace(plan(), query="q" * 11)
    with pytest.raises(InvalidRequest):
        await stand.pipeline().search(long, context())
    assert not stand.embed.deadlines
    await stand.pipeline().search(replace(long, rerank=False), context())
    assert stand.embed.deadlines


async def test_rerank_work_is_foreseen_while_a_search_is_embedded_and_retrieved() -> None:
    """Three candidates of 9 tokens with the query: the second search is counted by the first's,
    until it reaches the reranker, or until it is known that it will not."""
    stand = Stand()
    pipeline = stand.pipeline()

    def foreseen() -> float:
        return stand.arrivals.to_stats()["rerank_interactive_tokens_per_s"]

    await pipeline.search(plan(), context())
    assert stand.shelf.foreseen == [0.0]
    await pipeline.search(plan(), context())
    assert stand.shelf.foreseen[1] > 0
    assert foreseen() == 0, "the stage itself counts what reaches it"
    stand.shelf.failure = NotFound("no such collection")
    with pytest.raises(NotFound):
        await pipeline.search(plan(), context())
    assert stand.shelf.foreseen[2] > 0
    assert foreseen() == 0


async def test_work_that_would_be_refused_is_not_tokenised() -> None:
    full = Stage(refusal=Overloaded("full"))
    stand = Stand(embed=full, rerank=full)
    pipeline = stand.pipeline()
    with pytest.raises(Overloaded):
        await pipeline.embed_documents(["a" * 40], None, context())
    with pytest.raises(Overloaded):
        await pipeline.rerank("q" * 4, ["a" * 36], None, context())
    assert stand.encoder.read == 0


async def test_a_search_that_could_not_be_reranked_is_not_embedded_unless_it_may_degrade() -> None:
    stand = Stand(rerank=Stage(refusal=Overloaded("full"), failure=Overloaded("full")))
    pipeline = stand.pipeline()
    with pytest.raises(Overloaded):
        await pipeline.search(plan(), context())
    assert not stand.embed.deadlines
    assert (await pipeline.search(plan(may_degrade=True), context())).degraded == ("rerank",)


async def test_a_search_that_could_not_be_retrieved_is_not_embedded() -> None:
    stand = Stand()
    stand.shelf.full = True
    with pytest.raises(Overloaded):
        await stand.pipeline().search(plan(), context())
    assert not stand.embed.deadlines


@pytest.mark.parametrize("failure", [DeadlineExceeded("!"), Overloaded("!"), StageUnavailable("!")])
async def test_a_tenant_is_not_charged_for_what_a_stage_did_not_do(failure: Exception) -> None:
    account = Metered()
    with pytest.raises(type(failure)):
        await Stand(rerank=Stage(failure)).pipeline().search(plan(), context(account))
    assert account.charged == 1, "the query was embedded"
    with pytest.raises(type(failure)):
        await (
            Stand(embed=Stage(failure)).pipeline().embed_documents(["abc"], None, context(account))
        )
    assert account.charged == 1
    await Stand().pipeline().embed_documents(["abc"], None, context(account))
    assert account.charged == 4


async def test_a_searchs_instruction_reaches_both_models() -> None:
    stand = Stand()
    asked = replace(plan(), instruction="i")
    await stand.pipeline().search(asked, context())
    assert stand.encoder.instructions == ["i", "i"]
    with pytest.raises(InvalidRequest, match="reads none"):
        await stand.pipeline().rerank("q", ["a"], None, context(), "i")
    assert stand.encoder.read == 4


class Slow(Stage):
    """Its answer never comes."""

    async def compute(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:  # noqa: ARG002
        await within(deadline, asyncio.Event().wait())
        raise AssertionError("it was told to")


@pytest.mark.parametrize("is_outer", [True, False])
async def test_nothing_is_paid_for_what_was_late_whichever_deadline_ends_first(
    is_outer: bool,
) -> None:
    account = Metered()
    deadline = Deadline.after(0.02, time.monotonic)
    asked = replace(context(account), deadline=deadline)
    embedding = Stand(embed=Slow()).pipeline().embed_documents(["abc"], None, asked)
    with pytest.raises(DeadlineExceeded):
        await (within(deadline, embedding) if is_outer else embedding)
    await asyncio.sleep(0)
    assert account.charged == 0


async def test_a_request_that_is_given_up_before_its_deadline_is_paid_for() -> None:
    account = Metered()
    pipeline = Stand(embed=Slow()).pipeline()
    asked = replace(context(account), deadline=Deadline.after(10, time.monotonic))
    embedding = asyncio.create_task(pipeline.embed_documents(["abc"], None, asked))
    await asyncio.sleep(0.01)
    embedding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await embedding
    assert account.charged == 3
