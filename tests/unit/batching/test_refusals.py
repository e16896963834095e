"""Refusals of the batcher: a full queue, work too large for its time, and no rows."""

import asyncio
import time

import numpy as np
import pytest

from deployments.batching.batcher import Batcher, BatchLimits
from deployments.errors import Overloaded
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from tests.unit.batching.engine import LIMITS, ME, Engine, rows_of


async def test_a_full_queue_refuses_at_once() -> None:
    engine = Engine(delay_s=0.01)
    limits = BatchLimits(max_batch_tokens=8, max_batch_rows=4, max_queued_tokens=10)
    batcher = Batcher(engine.compute, time.monotonic, limits)
    accepted = [asyncio.create_task(batcher.submit(rows_of(8), 10, ME)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await batcher.submit(rows_of(1), 10, ME)
    await asyncio.gather(*accepted)


async def test_work_that_cannot_be_done_in_time_is_refused_at_once() -> None:
    now = [0.0]

    async def compute(rows: TokenRows) -> ModelOutput:
        now[0] += rows.total_tokens / 100  # 100 tokens/s
        await asyncio.sleep(0)
        return ModelOutput.uncached(np.zeros(len(rows), np.float32))

    batcher = Batcher(compute, lambda: now[0], LIMITS)
    await batcher.submit(rows_of(16), 10, ME)
    waiting = [asyncio.create_task(batcher.submit(rows_of(16), 60, ME)) for _ in range(10)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await batcher.submit(rows_of(16), 1, ME)
    assert refused.value.retry_after_s == pytest.approx(1.02, abs=0.01)
    await batcher.submit(rows_of(16), 1, Origin("someone else"))
    await asyncio.gather(*waiting)


async def test_an_idle_engine_tries_work_that_it_seemed_too_slow_for() -> None:
    """Refusing it after one slow batch would leave the engine unmeasured for ever."""
    now, takes_s = [0.0], 20.0

    async def compute(rows: TokenRows) -> ModelOutput:
        now[0] += takes_s
        return ModelOutput.uncached(np.zeros(len(rows), np.float32))

    batcher = Batcher(compute, lambda: now[0], LIMITS)
    await batcher.submit(rows_of(16), 60, ME)
    takes_s = 0.1
    assert batcher.throughput.seconds_for(16) == pytest.approx(20)
    assert len(await batcher.submit(rows_of(16), 5, ME)) == 1


async def test_a_batch_that_fails_says_nothing_of_the_engines_speed() -> None:
    now = [0.0]
    fails = False

    async def compute(rows: TokenRows) -> ModelOutput:
        now[0] += 10.0 if fails else 0.01
        if fails:
            raise RuntimeError("the store is away")
        return ModelOutput.uncached(np.zeros(len(rows), np.float32))

    batcher = Batcher(compute, lambda: now[0], LIMITS)
    await batcher.submit(rows_of(16), 10, ME)
    measured = batcher.throughput.per_s
    fails = True
    with pytest.raises(RuntimeError):
        await batcher.submit(rows_of(16), 20, ME)
    assert batcher.throughput.per_s == measured > 0


async def test_no_rows_are_no_request() -> None:
    batcher = Batcher(Engine().compute, time.monotonic, LIMITS)
    with pytest.raises(ValueError, match="at least one row"):
        await batcher.submit(TokenRows.pack([]), 10, ME)
