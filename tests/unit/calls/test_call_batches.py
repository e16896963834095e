"""Shared calls: every request gets its own vectors, failures and freedom to leave."""

import asyncio
import time
from contextvars import ContextVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.calls.call_batches import CallBatches
from deployments.errors import Overloaded
from deployments.request.deadline import Deadline
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

_ME = Origin("me")


class Stage:
    """Each row's vector is its token ids' sum."""

    def __init__(self, delay_s: float = 0.001) -> None:
        self.calls: list[tuple[Origin, TokenRows]] = []
        self.cancelled = 0
        self.most_at_once = 0
        self._at_once = 0
        self._delay_s = delay_s

    async def call(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:  # noqa: ARG002
        self.calls.append((origin, rows))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(self._delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._at_once -= 1
        return ModelOutput.uncached(
            np.array([[sum(row)] for row in rows], np.float32)
        ).with_fingerprint("model")


def soon() -> Deadline:
    return Deadline.after(10, time.monotonic)


def rows_of(*lengths: int) -> TokenRows:
    return TokenRows.pack([list(range(1, length + 1)) for length in lengths])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=20),
    st.integers(1, 3),
)
def test_every_request_gets_its_own_vectors(requests: list[list[int]], at_once: int) -> None:
    stage = Stage()

    async def run() -> list[ModelOutput]:
        batches = CallBatches(stage.call, at_once, call_cost=30)
        submits = [batches.submit(rows_of(*lengths), soon(), _ME) for lengths in requests]
        answers = await asyncio.gather(*submits)
        assert not batches._lines
        return answers

    for lengths, answer in zip(requests, asyncio.run(run()), strict=True):
        assert answer.values[:, 0].tolist() == [n * (n + 1) / 2 for n in lengths]
        assert answer.fingerprint == "model"
    assert sum(len(rows) for _, rows in stage.calls) == sum(map(len, requests))
    for _, rows in stage.calls:
        assert rows.total_tokens < 30 + 9


async def test_what_arrives_meanwhile_goes_together() -> None:
    stage = Stage()
    batches = CallBatches(stage.call, 1, call_cost=1_000)
    await asyncio.gather(*(batches.submit(rows_of(2), soon(), _ME) for _ in range(9)))
    assert [len(rows) for _, rows in stage.calls] == [1, 8]


async def test_nothing_waits_long_for_a_call_that_is_slow_to_return() -> None:
    stage = Stage(delay_s=5)
    batches = CallBatches(stage.call, 1, call_cost=1_000)
    waiting = [asyncio.create_task(batches.submit(rows_of(2), soon(), _ME)) for _ in range(3)]
    await asyncio.sleep(0.1)
    assert [len(rows) for _, rows in stage.calls] == [1, 2]
    for one in waiting:
        one.cancel()
    await asyncio.sleep(0.01)
    assert not batches._lines


async def test_a_large_request_becomes_calls_of_about_equal_size() -> None:
    stage = Stage()
    batches = CallBatches(stage.call, 1, call_cost=1_000)
    answer = await batches.submit(rows_of(*[46] * 100), soon(), _ME)
    assert len(answer) == 100
    assert [len(rows) for _, rows in stage.calls] == [20] * 5
    assert stage.most_at_once == 5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 10), min_size=1, max_size=12), st.integers(1, 3))
def test_what_one_call_can_hold_is_not_cut(sizes: list[int], at_once: int) -> None:
    """Half a request is of no use when the call with the other half is refused."""
    stage = Stage()

    async def run() -> None:
        batches = CallBatches(stage.call, at_once, call_cost=30)
        requests = [TokenRows.pack([[number] * 3] * size) for number, size in enumerate(sizes)]
        await asyncio.gather(*(batches.submit(rows, soon(), _ME) for rows in requests))

    asyncio.run(run())
    found = [{row[0] for row in rows} for _, rows in stage.calls]
    assert sum(map(len, found)) == len(sizes)
    assert all(rows.total_tokens < 60 for _, rows in stage.calls)


async def test_parts_by_different_models_have_no_fingerprint() -> None:
    models = iter("ab")

    async def call(rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:  # noqa: ARG001
        return ModelOutput.uncached(np.zeros(len(rows), np.float32)).with_fingerprint(next(models))

    answer = await CallBatches(call, 1, call_cost=10).submit(rows_of(9, 9), soon(), _ME)
    assert (len(answer), answer.fingerprint) == (2, "")


async def test_tenants_never_share_a_call() -> None:
    stage = Stage()
    batches = CallBatches(stage.call, 1, call_cost=1_000)
    origins = [Origin("a"), Origin("b"), Origin("a", "bulk")] * 3
    await asyncio.gather(*(batches.submit(rows_of(2), soon(), one) for one in origins))
    assert sorted(len(rows) for _, rows in stage.calls) == [1, 1, 1, 2, 2, 2]


async def test_a_failure_reaches_all_who_share_the_call() -> None:
    async def call(rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:  # noqa: ARG001
        await asyncio.sleep(0)
        raise Overloaded("full")

    batches = CallBatches(call, 1, call_cost=1_000)
    submits = [batches.submit(rows_of(2), soon(), _ME) for _ in range(3)]
    answers = await asyncio.gather(*submits, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Overloaded] * 3


async def test_a_call_ends_when_its_last_caller_has_gone() -> None:
    stage = Stage(delay_s=5)
    batches = CallBatches(stage.call, 1, call_cost=1_000)
    blocking = asyncio.create_task(batches.submit(rows_of(1), soon(), _ME))
    await asyncio.sleep(0.01)
    pair = [asyncio.create_task(batches.submit(rows_of(1), soon(), _ME)) for _ in range(2)]
    await asyncio.sleep(0.01)
    blocking.cancel()
    await asyncio.sleep(0.01)
    assert (stage.cancelled, len(stage.calls)) == (1, 2)
    pair[0].cancel()
    await asyncio.sleep(0.01)
    assert stage.cancelled == 1
    pair[1].cancel()
    await asyncio.sleep(0.01)
    assert stage.cancelled == 2
    with pytest.raises(asyncio.CancelledError):
        await blocking
    assert not batches._lines


async def test_a_call_is_made_in_no_requests_context() -> None:
    """Serve ends what was called in the context of a request whose client is gone."""
    request = ContextVar("request", default="none")
    seen: list[str] = []
    stage = Stage()

    async def call(rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:
        seen.append(request.get())
        return await stage.call(rows, deadline, origin)

    request.set("first")
    batches = CallBatches(call, 1, 100)
    await asyncio.gather(*(batches.submit(rows_of(3), soon(), _ME) for _ in range(3)))
    assert seen == ["none", "none"]
