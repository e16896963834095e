"""An idle service takes again what it has just done: requests of many calls, in virtual time."""

import asyncio
import random
from collections.abc import Callable

import numpy as np
import pytest

from deployments.batching.batcher import Batcher, BatchLimits
from deployments.errors import Overloaded
from deployments.request.origin import Lane, Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from loadtest.simulate import virtual_time
from tests.unit.calls.virtual_stage import Pace, Service

_LIMITS = BatchLimits(max_batch_tokens=1024, max_batch_rows=256)
_PACE = Pace(7_000, batch_s=0.005)


def texts(count: int, tokens: int) -> Callable[[random.Random], list[int]]:
    """Lengths of about so many tokens each."""
    return lambda rng: [max(3, round(rng.gauss(tokens, tokens / 5))) for _ in range(count)]


@pytest.mark.parametrize(
    ("first", "then", "lane"),
    [
        pytest.param(texts(2_048, 43), texts(2_048, 43), "default", id="2048-texts"),
        pytest.param(texts(1_000, 60), texts(1_000, 60), "default", id="1000-documents"),
        pytest.param(texts(1_000, 30), texts(1_000, 80), "bulk", id="longer-upserts"),
    ],
)
def test_an_idle_service_takes_what_it_has_just_done_ten_times_in_a_row(
    first: Callable[[random.Random], list[int]],
    then: Callable[[random.Random], list[int]],
    lane: Lane,
) -> None:
    async def main() -> None:
        service, rng = Service(_LIMITS, _PACE), random.Random(1)
        for _ in range(3):
            await service.ask(first(rng), lane=lane)
        for _ in range(10):
            assert 5 < await service.ask(then(rng), lane=lane) < 20

    virtual_time.run(main())


def test_one_large_request_is_taken_after_many_small_ones() -> None:
    async def main() -> None:
        service, rng = Service(_LIMITS, _PACE), random.Random(1)
        for _ in range(200):
            await service.ask(texts(1, 12)(rng))
        await asyncio.gather(*(service.ask(texts(1, 12)(rng)) for _ in range(8)))
        assert 10 < await service.ask(texts(2_048, 60)(rng)) < 27

    virtual_time.run(main())


def test_an_engine_that_was_slow_is_tried_anew_after_it_was_idle() -> None:
    """Another process had its cores, and has ended."""

    async def main() -> None:
        service, rng = Service(_LIMITS, _PACE), random.Random(1)
        service.engine.slower = 5.0
        await service.ask(texts(300, 60)(rng))
        service.engine.slower = 1.0
        await asyncio.sleep(10)
        assert 5 < await service.ask(texts(1_500, 60)(rng)) < 15

    virtual_time.run(main())


def test_an_engine_that_was_slow_is_trusted_again_after_a_few_tries() -> None:
    async def main() -> None:
        service, rng = Service(_LIMITS, _PACE), random.Random(1)
        service.engine.slower = 5.0
        await service.ask(texts(300, 60)(rng))
        service.engine.slower = 1.0
        tries = 0
        while True:
            tries += 1
            try:
                await service.ask(texts(1_500, 60)(rng))
                break
            except Overloaded:
                await asyncio.sleep(0.5)
        assert tries < 12

    virtual_time.run(main())


def test_work_that_cannot_be_done_in_time_is_refused_and_the_next_that_can_is_taken() -> None:
    async def main() -> None:
        service, rng = Service(_LIMITS, _PACE), random.Random(1)
        await service.ask(texts(1_000, 60)(rng))
        began_s = service.clock()
        with pytest.raises(Overloaded):
            await service.ask(texts(2_000, 300)(rng))
        assert service.clock() - began_s < 1
        await asyncio.sleep(2)
        assert 10 < await service.ask(texts(2_048, 60)(rng)) < 27

    virtual_time.run(main())


@pytest.mark.parametrize("slots", [2, 4])
def test_slots_that_end_together_do_not_make_an_engine_seem_faster(slots: int) -> None:
    """Engines of vLLM return the rows of two batches in one step."""

    async def main() -> None:
        limits = _LIMITS.model_copy(update={"slots": slots})
        clock = asyncio.get_running_loop().time
        step = asyncio.Event()

        async def engine(rows: TokenRows) -> ModelOutput:
            await step.wait()
            return ModelOutput.uncached(np.zeros(len(rows), np.float32))

        async def steps() -> None:
            while True:
                await asyncio.sleep(0.25)
                step.set()
                step.clear()

        stepping = asyncio.create_task(steps())
        batcher: Batcher[TokenRows, ModelOutput] = Batcher(engine, clock, limits)
        rows = TokenRows(np.zeros(32 * 32, np.int32), np.full(32, 32, np.int32))
        await asyncio.gather(*(batcher.submit(rows, 1000, Origin("a")) for _ in range(40)))
        stepping.cancel()
        assert batcher.throughput.per_s == pytest.approx(slots * 1024 / 0.25, rel=0.05)

    virtual_time.run(main())
