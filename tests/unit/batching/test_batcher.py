"""The batcher: nothing lost, nothing doubled, budgets kept, late and abandoned work dropped."""

import asyncio
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.batching.batcher import Batcher, BatchLimits
from deployments.errors import DeadlineExceeded, Overloaded
from deployments.request.batch_run import BatchRun
from deployments.request.origin import Lane, Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

_ME = Origin("me")
_LIMITS = BatchLimits(max_batch_tokens=16, max_batch_rows=4, max_queued_tokens=10_000)


class Engine:
    """Answers each row with the sum of its ids; records the batches it was given."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.batches: list[TokenRows] = []
        self.at_once = 0
        self.most_at_once = 0
        self._delay_s = delay_s

    async def compute(self, rows: TokenRows) -> ModelOutput:
        self.batches.append(rows)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self._delay_s)
        self.at_once -= 1
        return ModelOutput.uncached(np.array([sum(row) for row in rows], np.float32))


def rows_of(*lengths: int) -> TokenRows:
    return TokenRows.pack([list(range(length)) for length in lengths])


def sums_of(*lengths: int) -> list[float]:
    return [float(sum(range(length))) for length in lengths]


@settings(max_examples=60, deadline=None)
@given(
    requests=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=9), max_size=12),
    slots=st.integers(1, 3),
)
def test_every_request_gets_its_own_answers(requests: list[list[int]], slots: int) -> None:
    engine = Engine()
    limits = _LIMITS.model_copy(update={"slots": slots})

    async def run() -> list[ModelOutput]:
        batcher = Batcher(engine.compute, time.monotonic, limits)
        submits = [batcher.submit(rows_of(*lengths), 10, _ME) for lengths in requests]
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
    batcher = Batcher(engine.compute, time.monotonic, _LIMITS)
    await asyncio.gather(*(batcher.submit(rows_of(4), 10, _ME) for _ in range(9)))
    assert [len(batch) for batch in engine.batches] == [1, 4, 4]


async def test_late_work_never_reaches_the_engine() -> None:
    now = [0.0]
    engine = Engine(delay_s=0.01)
    batcher = Batcher(engine.compute, lambda: now[0], _LIMITS)
    first = asyncio.create_task(batcher.submit(rows_of(3), 10, _ME))
    late = asyncio.create_task(batcher.submit(rows_of(5), 1, _ME))
    await asyncio.sleep(0)
    now[0] = 2.0
    await first
    with pytest.raises(DeadlineExceeded):
        await late
    assert [batch.total_tokens for batch in engine.batches] == [3]


async def test_abandoned_work_never_reaches_the_engine() -> None:
    engine = Engine(delay_s=0.01)
    batcher = Batcher(engine.compute, time.monotonic, _LIMITS)
    first = asyncio.create_task(batcher.submit(rows_of(3), 10, _ME))
    gone = asyncio.create_task(batcher.submit(rows_of(5), 10, _ME))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    assert (batcher.queued_rows, batcher.queued_cost) == (0, 0), "its place is free at once"
    await first
    await asyncio.sleep(0.02)
    assert [batch.total_tokens for batch in engine.batches] == [3]
    assert (batcher.queued_rows, batcher.queued_cost) == (0, 0)


async def test_a_full_queue_refuses_at_once() -> None:
    engine = Engine(delay_s=0.01)
    limits = BatchLimits(max_batch_tokens=8, max_batch_rows=4, max_queued_tokens=10)
    batcher = Batcher(engine.compute, time.monotonic, limits)
    accepted = [asyncio.create_task(batcher.submit(rows_of(8), 10, _ME)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await batcher.submit(rows_of(1), 10, _ME)
    await asyncio.gather(*accepted)


async def test_a_failing_batch_fails_its_callers_and_the_next_one_runs() -> None:
    calls = 0

    async def compute(rows: TokenRows) -> ModelOutput:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("broken")
        return ModelOutput.uncached(np.zeros(len(rows), np.float32))

    batcher = Batcher(compute, time.monotonic, _LIMITS)
    with pytest.raises(RuntimeError, match="broken"):
        await batcher.submit(rows_of(2), 10, _ME)
    assert (await batcher.submit(rows_of(2), 10, _ME)).values.tolist() == [0.0]


async def test_limits_change_while_running() -> None:
    engine = Engine()
    batcher = Batcher(engine.compute, time.monotonic, _LIMITS)
    batcher.limits = BatchLimits(max_batch_tokens=2, max_batch_rows=1)
    await batcher.submit(rows_of(2, 2, 2), 10, _ME)
    assert [len(batch) for batch in engine.batches] == [1, 1, 1]


async def test_work_that_cannot_be_done_in_time_is_refused_at_once() -> None:
    now = [0.0]

    async def compute(rows: TokenRows) -> ModelOutput:
        now[0] += rows.total_tokens / 100  # 100 tokens/s
        await asyncio.sleep(0)
        return ModelOutput.uncached(np.zeros(len(rows), np.float32))

    batcher = Batcher(compute, lambda: now[0], _LIMITS)
    await batcher.submit(rows_of(16), 10, _ME)
    waiting = [asyncio.create_task(batcher.submit(rows_of(16), 60, _ME)) for _ in range(10)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await batcher.submit(rows_of(16), 1, _ME)
    assert refused.value.retry_after_s == pytest.approx(1.02, abs=0.01)
    await batcher.submit(rows_of(16), 1, Origin("someone else"))
    await asyncio.gather(*waiting)


async def test_a_large_request_does_not_hold_the_stage() -> None:
    engine = Engine(delay_s=0.002)
    limits = _LIMITS.model_copy(update={"turn_tokens": 4})
    batcher = Batcher(engine.compute, time.monotonic, limits)
    large = asyncio.create_task(batcher.submit(rows_of(*[4] * 200), 10, _ME))
    await asyncio.sleep(0)
    await batcher.submit(rows_of(3), 10, Origin("another"))
    assert len(engine.batches) <= 3
    assert not large.done()
    assert (await large).values.tolist() == sums_of(*[4] * 200)


async def test_every_batch_is_observed() -> None:
    seen: list[tuple[int, int, bool]] = []

    def observe(rows: TokenRows, output: ModelOutput, took_s: float) -> None:
        seen.append((rows.total_tokens, len(output), took_s >= 0))

    batcher = Batcher(Engine().compute, time.monotonic, _LIMITS, observe)
    await batcher.submit(rows_of(4, 4, 4, 4, 4), 10, _ME)
    assert seen == [(16, 4, True), (4, 1, True)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=20))
def test_one_tenants_requests_are_computed_in_order_of_arrival(owners: list[int]) -> None:
    """However long they are."""
    engine = Engine()

    async def run() -> None:
        batcher = Batcher(engine.compute, time.monotonic, _LIMITS)
        rows = [TokenRows.pack([[number] * (1 + number)]) for number in owners]
        await asyncio.gather(*(batcher.submit(one, 10, _ME) for one in rows))

    asyncio.run(run())
    assert [row[0] for batch in engine.batches for row in batch] == owners


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6),
    st.sampled_from(["interactive", "default", "bulk"]),
)
def test_nobody_starves_beside_tenants_without_end(lengths: list[int], lane: Lane) -> None:
    """Whoever floods, in whatever lane, one request of any lane is done within its share."""
    engine = Engine()

    async def run() -> None:
        batcher = Batcher(engine.compute, time.monotonic, _LIMITS)
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
    batcher = Batcher(engine.compute, lambda: now, _LIMITS)
    running = asyncio.create_task(batcher.submit(rows_of(16), 10, _ME))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(batcher.submit(rows_of(9), 10, Origin("me", "bulk")))]
    await asyncio.sleep(0)
    now = 2.0
    assert batcher.oldest_wait_s() == 0
    waiting.append(asyncio.create_task(batcher.submit(rows_of(5, 6), 10, _ME)))
    await asyncio.sleep(0)
    now = 5.0
    assert batcher.lane_costs == {"interactive": 0, "default": 11, "bulk": 9}
    assert batcher.oldest_wait_s() == 3
    await asyncio.gather(running, *waiting)
    assert batcher.oldest_wait_s() == 0


async def test_a_batch_that_fails_says_nothing_of_the_engines_speed() -> None:
    now = [0.0]
    fails = False

    async def compute(rows: TokenRows) -> ModelOutput:
        now[0] += 10.0 if fails else 0.01
        if fails:
            raise RuntimeError("the store is away")
        return ModelOutput.uncached(np.zeros(len(rows), np.float32))

    batcher = Batcher(compute, lambda: now[0], _LIMITS)
    await batcher.submit(rows_of(16), 10, _ME)
    measured = batcher.throughput.per_s
    fails = True
    with pytest.raises(RuntimeError):
        await batcher.submit(rows_of(16), 20, _ME)
    assert batcher.throughput.per_s == measured > 0


async def test_no_rows_are_no_request() -> None:
    batcher = Batcher(Engine().compute, time.monotonic, _LIMITS)
    with pytest.raises(ValueError, match="at least one row"):
        await batcher.submit(TokenRows.pack([]), 10, _ME)


async def test_an_idle_engine_tries_work_that_it_seemed_too_slow_for() -> None:
    """However slow its last batch was: else it would never be measured again."""
    now, takes_s = [0.0], 20.0

    async def compute(rows: TokenRows) -> ModelOutput:
        now[0] += takes_s
        return ModelOutput.uncached(np.zeros(len(rows), np.float32))

    batcher = Batcher(compute, lambda: now[0], _LIMITS)
    await batcher.submit(rows_of(16), 60, _ME)
    takes_s = 0.1
    assert batcher.throughput.seconds_for(16) == pytest.approx(20)
    assert len(await batcher.submit(rows_of(16), 5, _ME)) == 1


async def test_a_measured_batcher_tells_in_which_batches_rows_were_computed() -> None:
    now = [0.0]

    async def compute(rows: TokenRows) -> ModelOutput:
        now[0] += 2.0
        await asyncio.sleep(0)
        return ModelOutput.uncached(np.zeros(len(rows), np.float32))

    batcher = Batcher(compute, lambda: now[0], _LIMITS, measured_as="r")
    first, second, third = await asyncio.gather(
        batcher.submit(rows_of(4), 60, _ME),
        batcher.submit(rows_of(4, 4, 4), 60, _ME),
        batcher.submit(rows_of(4, 4), 60, _ME),
    )
    assert first.runs == (BatchRun(1, 1, 4, 0.0, 2.0, "r"),)
    assert second.runs == (BatchRun(3, 4, 16, 2.0, 2.0, "r"),)
    assert third.runs == (BatchRun(1, 4, 16, 2.0, 2.0, "r"), BatchRun(1, 1, 4, 4.0, 2.0, "r"))


async def test_an_unmeasured_batcher_tells_nothing() -> None:
    batcher = Batcher(Engine().compute, time.monotonic, _LIMITS)
    assert (await batcher.submit(rows_of(4), 10, _ME)).runs == ()
