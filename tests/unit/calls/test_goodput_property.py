"""Goodput under five times the load, as a property: whatever the requests and whoever sends them,
the engine goes on to do what is answered in time."""

import asyncio
import random
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deployments.batching.batcher import BatchLimits
from deployments.errors import DeadlineExceeded, Overloaded
from loadtest.simulate import virtual_time
from tests.unit.calls.virtual_stage import Pace, Service

_TIMES_THE_LOAD = 5.0
# In deadlines: until the queue is full, and then measured.
_WARM, _STEADY = 2, 6


@dataclass(frozen=True, slots=True)
class Flood:
    """Requests of `tenants` with one deadline, each of a part of what the engine does in it."""

    pace: Pace
    slots: int
    tenants: int
    timeout_s: float
    parts: tuple[float, ...]
    row_tokens: int
    seed: int

    @property
    def limits(self) -> BatchLimits:
        return BatchLimits(max_batch_tokens=1024, max_batch_rows=256, slots=self.slots)

    @property
    def engine_tokens_per_s(self) -> float:
        batch = self.limits.max_batch_tokens
        engines = self.slots if self.pace.each else 1
        return engines * batch / self.pace.seconds(batch)

    def lengths(self, part: float) -> NDArray[np.int32]:
        tokens = part * self.timeout_s * self.engine_tokens_per_s / self.tenants
        row_tokens = max(self.row_tokens, int(tokens) // 2048 + 1)
        return np.full(max(1, round(tokens / row_tokens)), row_tokens, np.int32)


async def _goodput(flood: Flood) -> float:
    service, rng = Service(flood.limits, flood.pace, flood.seed), random.Random(flood.seed)
    sizes = [flood.lengths(part) for part in flood.parts]
    mean_tokens = float(np.mean([size.sum() for size in sizes]))
    per_s = _TIMES_THE_LOAD * flood.engine_tokens_per_s / mean_tokens
    from_s, until_s = _WARM * flood.timeout_s, (_WARM + _STEADY) * flood.timeout_s
    answered_tokens = 0

    async def ask(size: NDArray[np.int32], tenant: str) -> None:
        nonlocal answered_tokens
        try:
            await service.ask(size, flood.timeout_s, tenant=tenant)
        except (Overloaded, DeadlineExceeded):
            return
        if from_s < service.clock() <= until_s:
            answered_tokens += int(size.sum())

    async with asyncio.TaskGroup() as group:
        while service.clock() < until_s:
            await asyncio.sleep(rng.expovariate(per_s))
            tenant = rng.choice("abc"[: flood.tenants])
            group.create_task(ask(rng.choice(sizes), tenant))
    return answered_tokens / (flood.engine_tokens_per_s * (until_s - from_s))


@st.composite
def _floods(draw: st.DrawFn) -> Flood:
    """A deadline is a second at least, and several batches long."""
    pace = Pace(
        draw(st.sampled_from([2_500.0, 7_000.0, 20_000.0])),
        draw(st.sampled_from([0.0, 0.005])),
        draw(st.sampled_from([0.0, 0.3])),
        draw(st.booleans()),
    )
    return Flood(
        pace,
        draw(st.sampled_from([1, 2])),
        draw(st.integers(1, 3)),
        max(draw(st.sampled_from([1.0, 2.0, 5.0])), 8 * pace.seconds(1024)),
        tuple(draw(st.lists(st.floats(1 / 40, 1 / 8), min_size=1, max_size=3))),
        draw(st.sampled_from([4, 12, 43, 120, 250])),
        draw(st.integers(0, 9)),
    )


@settings(max_examples=12, deadline=None)
@given(_floods())
def test_at_five_times_the_load_nine_tenths_of_what_the_engine_can_do_is_answered_in_time(
    flood: Flood,
) -> None:
    assert virtual_time.run(_goodput(flood)) > 0.9
