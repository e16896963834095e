"""Sizes of batches that follow what a slot was measured to do, in virtual time."""

import asyncio

import numpy as np
import pytest

from deployments.batching.batcher import Batcher, BatchLimits
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from loadtest.simulate import virtual_time

_ME = Origin("me")
_LIMITS = BatchLimits(max_batch_tokens=8192, max_batch_rows=10_000, max_batch_ms=100)


class Engines:
    """Slots that compute at `tokens_per_s` each, and the sizes of their batches."""

    def __init__(self, tokens_per_s: float, overhead_s: float) -> None:
        self.batches: list[int] = []
        self._tokens_per_s = tokens_per_s
        self._overhead_s = overhead_s

    async def compute(self, rows: TokenRows) -> ModelOutput:
        self.batches.append(rows.total_tokens)
        await asyncio.sleep(self._overhead_s + rows.total_tokens / self._tokens_per_s)
        return ModelOutput.uncached(np.zeros(len(rows), np.float32))


def rows_of(count: int, tokens: int) -> TokenRows:
    return TokenRows(np.zeros(count * tokens, np.int32), np.full(count, tokens, np.int32))


async def saturated(engines: Engines, limits: BatchLimits) -> Batcher[TokenRows, ModelOutput]:
    """A batcher that has measured its engines."""
    batcher = Batcher(engines.compute, asyncio.get_running_loop().time, limits)
    await batcher.submit(rows_of(8_000, 10), 600, _ME)
    await asyncio.sleep(1)
    engines.batches.clear()
    return batcher


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize(
    ("tokens_per_s", "overhead_s", "tokens"),
    [
        pytest.param(5_000, 0.005, 475, id="a-core"),
        pytest.param(60_000, 0.020, 4_800, id="a-gpu"),
        pytest.param(500_000, 0.010, 8_192, id="more-than-the-limit"),
    ],
)
def test_a_batch_takes_about_its_time(
    slots: int, tokens_per_s: float, overhead_s: float, tokens: int
) -> None:
    async def main() -> list[int]:
        engines = Engines(tokens_per_s, overhead_s)
        batcher = await saturated(engines, _LIMITS.model_copy(update={"slots": slots}))
        await batcher.submit(rows_of(8_000, 10), 600, _ME)
        return engines.batches[:-slots]

    sizes = virtual_time.run(main())
    assert np.median(sizes) == pytest.approx(tokens, rel=0.05)


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [
        pytest.param(40, [200, 200], id="both-slots-take-half"),
        pytest.param(12, [120], id="too-little-to-share"),
        pytest.param(24, [240], id="less-than-two-thirds-of-a-batch"),
        pytest.param(80, [400, 400], id="both-slots-take-half-of-much"),
        pytest.param(120, [460, 460, 280], id="full-batches-first"),
    ],
)
def test_what_waits_is_spread_over_the_slots(rows: int, sizes: list[int]) -> None:
    async def main() -> list[int]:
        engines = Engines(5_000, 0.005)
        batcher = await saturated(engines, _LIMITS.model_copy(update={"slots": 2}))
        await batcher.submit(rows_of(rows, 10), 600, _ME)
        return engines.batches

    assert virtual_time.run(main()) == pytest.approx(sizes, rel=0.1)


def test_a_busy_slot_gets_its_part_of_what_waits() -> None:
    async def main() -> list[int]:
        engines = Engines(5_000, 0.005)
        batcher = await saturated(engines, _LIMITS.model_copy(update={"slots": 2}))
        first = asyncio.create_task(batcher.submit(rows_of(1, 10), 600, _ME))
        await asyncio.sleep(0.001)
        await asyncio.gather(first, batcher.submit(rows_of(40, 10), 600, _ME))
        return engines.batches

    assert virtual_time.run(main()) == [10, 200, 200]


def test_without_a_time_batches_are_as_large_as_they_may_be() -> None:
    async def main() -> list[int]:
        engines = Engines(5_000, 0.005)
        limits = _LIMITS.model_copy(update={"slots": 2, "max_batch_ms": None})
        batcher = await saturated(engines, limits)
        await batcher.submit(rows_of(1_000, 10), 600, _ME)
        return engines.batches

    assert virtual_time.run(main()) == [8_190, 1_810]
