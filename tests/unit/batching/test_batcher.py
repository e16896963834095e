"""The batcher: nothing lost, nothing doubled, budgets kept, late and abandoned work dropped."""

import asyncio
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.batching.batcher import Batcher, BatchLimits
from deployments.errors import DeadlineExceeded
from deployments.request.batch_run import BatchRun
from deployments.request.origin import Lane, Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from tests.unit.batching.engine import LIMITS, ME, Engine, rows_of, sums_of


@settings(max_examples=60, deadline=None)
@given(
    requests=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=9), max_size=12),
    slots=st.integers(1, 3),
)
def test_every_request_gets_its_own_answers(requests: list[list[int]], slots: int) -> None:
    engine = Engine()
    limits = LIMITS.model_copy(update={"slots": slots})

    async def run() -> list[ModelOutput]:
        batcher = Batcher(engine.compute, time.monotonic, limits)
        submits = [batcher.submit(rows_of(*lengths), 10, ME) for lengths in requests]
        answers = await asyncio.gather(*submits)
        assert (batcher.queued_rows, batcher.queued_cost) == (0, 0)
        return answers

    for lengths, answer in zip(requests, asyncio.run(run()), strict=True):
        assert answer.values.tolist() == sums_of(*lengths)
    assert sum(len(batch) for batch in engine.batches) == sum(map(len, requests))
    assert engine.most_at_once <= slots
    for batch in engine.batches:
        assert len(batch) <= 4
        assert batch.total_tokens <= 16 or len(batch) == 1


async def test_waiting_requests_share_a_batch_when_the_slot_frees() -> None:
    engine = Engine(delay_s=0.02)
    batcher = Batcher(engine.compute, time.monotonic, LIMITS)
    await asyncio.gather(*(batcher.submit(rows_of(4), 10, ME) for _ in range(9)))
    assert [len(batch) for batch in engine.batches] == [1, 4, 4]


async def test_late_work_never_reaches_the_engine() -> None:
    now = [0.0]
    engine = Engine(delay_s=0.01)
    batcher = Batcher(engine.compute, lambda: now[0], LIMITS)
    first = asyncio.create_task(batcher.submit(rows_of(3), 10, ME))
    late = asyncio.create_task(batcher.submit(rows_of(5), 1, ME))
    await asyncio.sleep(0)
    now[0] = 2.0
    await first
    with pytest.raises(DeadlineExceeded):
        await late
    assert [batch.total_tokens for batch in engine.batches] == [3]


async def test_abandoned_work_never_reaches_the_engine() -> None:
    engine = Engine(delay_s=0.01)
    batcher = Batcher(engine.compute, time.monotonic, LIMITS)
    first = asyncio.create_task(batcher.submit(rows_of(3), 10, ME))
    gone = asyncio.create_task(batcher.submit(rows_of(5), 10, ME))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    assert (batcher.queued_rows, batcher.queued_cost) == (0, 0), "its place is free at once"
    await first
    await asyncio.sleep(0.02)
    assert [batch.total_tokens for batch in engine.batches] == [3]
    assert (batcher.queued_rows, batcher.queued_cost) == (0, 0)


async def test_a_failing_batch_fails_its_callers_and_the_next_one_runs() -> None:
    calls = 0

    async def compute(rows: TokenRows) -> ModelOutput:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("broken")
        return ModelOutput.uncached(np.zeros(len(rows), np.float32))

    batcher = Batcher(compute, time.monotonic, LIMITS)
    with pytest.raises(RuntimeError, match="broken"):
        await batcher.submit(rows_of(2), 10, ME)
    assert (await batcher.submit(rows_of(2), 10, ME)).values.tolist() == [0.0]


async def test_limits_change_while_running() -> None:
    engine = Engine()
    batcher = Batcher(engine.compute, time.monotonic, LIMITS)
    batcher.limits = BatchLimits(max_batch_tokens=2, max_batch_rows=1)
    await batcher.submit(rows_of(2, 2, 2), 10, ME)
    assert [len(batch) for batch in engine.batches] == [1, 1, 1]


async def test_a_large_request_does_not_hold_the_stage() -> None:
    engine = Engine(delay_s=0.002)
    limits = LIMITS.model_copy(update={"turn_tokens": 4})
    batcher = Batcher(engine.compute, time.monotonic, limits)
    large = asyncio.create_task(batcher.submit(rows_of(*[4] * 200), 10, ME))
    await asyncio.sleep(0)
    await batcher.submit(rows_of(3), 10, Origin("another"))
    assert len(engine.batches) <= 3
    assert not large.done()
    assert (await large).values.tolist() == sums_of(*[4] * 200)


async def test_every_batch_is_observed() -> None:
    seen: list[tuple[int, int, bool]] = []

    def observe(rows: TokenRows, output: ModelOutput, took_s: float) -> None:
        seen.append((rows.total_tokens, len(output), took_s >= 0))

    batcher = Batcher(Engine().compute, time.monotonic, LIMITS, observe)
    await batcher.submit(rows_of(4, 4, 4, 4, 4), 10, ME)
    assert seen == [(16, 4, True), (4, 1, True)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=20))
def test_one_tenants_requests_are_computed_in_order_of_arrival(owners: list[int]) -> None:
    """Order holds for requests of any length."""
    engine = Engine()

    async def run() -> None:
        batcher = Batcher(engine.compute, time.monotonic, LIMITS)
        rows = [TokenRows.pack([[number] * (1 + number)]) for number in owners]
        await asyncio.gather(*(batcher.submit(one, 10, ME) for one in rows))

    asyncio.run(run())
    assert [row[0] for batch in engine.batches for row in batch] == owners


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6),
    st.sampled_from(["interactive", "default", "bulk"]),
)
def test_nobody_starves_beside_tenants_without_end(lengths: list[int], lane: Lane) -> None:
    """A request in any lane is done within its share while other tenants flood the stage."""
    engine = Engine()

    async def run() -> None:
        batcher = Batcher(engine.compute, time.monotonic, LIMITS)
        done = False

        async def flood(tenant: str) -> None:
            while not done:
                await batcher.submit(rows_of(8, 8), 10, Origin(tenant, "interactive"))

        floods = [asyncio.create_task(flood(tenant)) for tenant in "abcd" for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.wait_for(batcher.submit(rows_of(*lengths), 10, Origin("me", lane)), 5)
        done = True
        await asyncio.gather(*floods)

    asyncio.run(run())


async def test_what_waits_is_told_by_lane_and_the_oldest_outside_bulk() -> None:
    now = 0.0
    engine = Engine(delay_s=0.01)
    batcher = Batcher(engine.compute, lambda: now, LIMITS)
    running = asyncio.create_task(batcher.submit(rows_of(16), 10, ME))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(batcher.submit(rows_of(9), 10, Origin("me", "bulk")))]
    await asyncio.sleep(0)
    now = 2.0
    assert batcher.oldest_wait_s() == 0
    waiting.append(asyncio.create_task(batcher.submit(rows_of(5, 6), 10, ME)))
    await asyncio.sleep(0)
    now = 5.0
    assert batcher.lane_costs == {"interactive": 0, "default": 11, "bulk": 9}
    assert batcher.oldest_wait_s() == 3
    await asyncio.gather(running, *waiting)
    assert batcher.oldest_wait_s() == 0


async def test_a_measured_batcher_tells_in_which_batches_rows_were_computed() -> None:
    now = [0.0]

    async def compute(rows: TokenRows) -> ModelOutput:
        now[0] += 2.0
        await asyncio.sleep(0)
        return ModelOutput.uncached(np.zeros(len(rows), np.float32))

    batcher = Batcher(compute, lambda: now[0], LIMITS, measured_as="r")
    first, second, third = await asyncio.gather(
        batcher.submit(rows_of(4), 60, ME),
        batcher.submit(rows_of(4, 4, 4), 60, ME),
        batcher.submit(rows_of(4, 4), 60, ME),
    )
    assert first.runs == (BatchRun(1, 1, 4, 0.0, 2.0, "r"),)
    assert second.runs == (BatchRun(3, 4, 16, 2.0, 2.0, "r"),)
    assert third.runs == (BatchRun(1, 4, 16, 2.0, 2.0, "r"), BatchRun(1, 1, 4, 4.0, 2.0, "r"))


async def test_an_unmeasured_batcher_tells_nothing() -> None:
    batcher = Batcher(Engine().compute, time.monotonic, LIMITS)
    assert (await batcher.submit(rows_of(4), 10, ME)).runs == ()
