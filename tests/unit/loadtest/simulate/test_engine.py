"""The simulated engine: what slots share, and what they gain, against times worked out by hand."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from deployments.batching.batcher import BatchLimits
from deployments.config import CallLimits
from deployments.request.deadline import Deadline
from deployments.request.origin import Origin
from deployments.rows.token_rows import TokenRows
from loadtest.simulate import virtual_time
from loadtest.simulate.engine import SimulatedEngine, StepLimits
from loadtest.simulate.service_times import ServiceTimes
from loadtest.simulate.stage import SimulatedStage, StageSpec

# 1,000 tokens/s, 0.06 s for each step, and 0.02 s for a row in which the engine is idle.
_TIMES = ServiceTimes(source="made up", batch_s=0.06, token_s=1e-3, row_s=0.02)
_STEP = StepLimits(max_num_batched_tokens=100, max_num_seqs=8)


def _ends(*batches: tuple[float, Sequence[int]], times: ServiceTimes = _TIMES) -> list[float]:
    """Return when each batch, of the lengths that come at its time, is done."""

    async def one(engine: SimulatedEngine, at_s: float, lengths: Sequence[int]) -> float:
        await asyncio.sleep(at_s)
        await engine.compute(np.array(lengths, np.int32))
        return asyncio.get_running_loop().time()

    async def main() -> list[float]:
        engine = SimulatedEngine(times, _STEP)
        return await asyncio.gather(*(one(engine, *batch) for batch in batches))

    return virtual_time.run(main())


def test_a_batch_alone_takes_its_service_time() -> None:
    assert _ends((0, [50, 50])) == pytest.approx([0.2])
    assert _TIMES.seconds(np.array([50, 50], np.int32)) == pytest.approx(0.2)


def test_batches_that_fit_share_a_step_and_end_together() -> None:
    """One step of 60 tokens instead of two of 20 and 40."""
    assert _ends((0, [20]), (0, [40])) == pytest.approx([0.14, 0.14])


def test_of_two_full_batches_the_second_waits_and_is_handed_over_meanwhile() -> None:
    assert _ends((0, [50, 50]), (0, [50, 50])) == pytest.approx([0.2, 0.36])


def test_a_step_takes_rows_of_the_next_batch_while_there_is_room() -> None:
    """60 and then, of a batch that came meanwhile, 40 and 30; 30 more need a step of their own."""
    assert _ends((0, [60]), (0.05, [40, 30, 60])) == pytest.approx([0.14, 0.14 + 0.13 + 0.12])


def test_a_batch_that_comes_during_a_step_waits_for_its_end() -> None:
    assert _ends((0, [100]), (0.1, [10])) == pytest.approx([0.18, 0.25])


def test_a_step_has_no_more_rows_than_it_may() -> None:
    """Eight of one token, then one."""
    assert _ends((0, [1] * 9)) == pytest.approx([9 * 0.02 + 0.068 + 0.061])


def test_a_row_longer_than_a_step_is_computed_alone() -> None:
    assert _ends((0, [150, 10])) == pytest.approx([0.04 + 0.21 + 0.07])


@pytest.mark.parametrize(
    ("slots", "copies", "took_s"),
    [(1, 1, 10 * 0.2), (2, 1, 0.04 + 10 * 0.16), (2, 2, 5 * 0.2)],
)
def test_slots_gain_what_overlaps_and_copies_all(slots: int, copies: int, took_s: float) -> None:
    """Ten full batches: one at a time, two at a time on one engine, and on two engines."""
    assert _took(slots, copies) == pytest.approx(took_s)


def _took(slots: int, copies: int) -> float:
    spec = StageSpec(
        times=_TIMES,
        limits=BatchLimits(max_batch_tokens=100, slots=slots),
        step=_STEP,
        calls=CallLimits(),
        copies=copies,
        replicas=1,
    )

    async def main() -> float:
        clock = asyncio.get_running_loop().time
        stage = SimulatedStage(spec, clock, seed=0)
        rows = TokenRows(np.zeros(1000, np.int32), np.full(20, 50, np.int32))
        await stage.call(rows, Deadline.after(60, clock), Origin("a", "default"))
        return clock()

    return virtual_time.run(main())
