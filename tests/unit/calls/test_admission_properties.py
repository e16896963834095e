"""Admission proven by properties: hypothesis looks for the request that should not be refused.

Arrivals of every kind, in virtual time, go through a Router's client and the stage's batcher; the
engine's figures are those of the local profile's models on two cores, and of faster machines.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deployments.batching.batcher import BatchLimits
from deployments.errors import DeadlineExceeded, Overloaded
from deployments.request.origin import Lane
from loadtest.simulate import virtual_time
from tests.unit.calls.first_come import FirstCome, Request
from tests.unit.calls.virtual_stage import WAY_S, Pace, Service

# A call is under way, or waits for others to share it, for less.
_TRANSIT_S = 0.04
# A case has about so many calls at most: more would only take longer.
_MOST_CALLS = 80
_CALL_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Wave:
    """`count` equal requests of a tenant, `every_s`, the first `after_s` the last of the wave
    before."""

    after_s: float
    count: int
    every_s: float
    tenant: str
    rows: int
    row_tokens: int
    timeout_s: float

    def requests(self, from_s: float, lane: Lane) -> list[Request]:
        calls = math.ceil(self.rows * self.row_tokens / _CALL_TOKENS)
        count = max(1, min(self.count, _MOST_CALLS // calls))
        return [
            Request(
                from_s + self.after_s + number * self.every_s,
                self.tenant,
                lane,
                self.rows,
                self.row_tokens,
                self.timeout_s,
            )
            for number in range(count)
        ]


@dataclass(frozen=True, slots=True)
class Told:
    """`error` is None for what was answered. `standing_s` is how long all that ran and waited at
    the arrival would have taken together with the request, at the engine's average pace."""

    request: Request
    error: type[Exception] | None
    took_s: float
    standing_s: float


def _limits(slots: int, batch_tokens: int) -> BatchLimits:
    return BatchLimits(max_batch_tokens=batch_tokens, max_batch_rows=256, slots=slots)


_PACES = st.builds(
    Pace,
    tokens_per_s=st.sampled_from([2_500.0, 5_000.0, 7_000.0, 20_000.0]) | st.floats(2_500, 20_000),
    batch_s=st.sampled_from([0.0, 0.005]) | st.floats(0, 0.01),
    noise=st.sampled_from([0.0, 0.3]),
    each=st.booleans(),
)
_LIMITS = st.builds(_limits, st.sampled_from([1, 2]), st.sampled_from([1024, 2048]))


def _waves(tenants: str) -> st.SearchStrategy[list[Wave]]:
    wave = st.builds(
        Wave,
        after_s=st.sampled_from([0.1, 0.5, 3.0, 6.0, 60.0, 3600.0]) | st.floats(0.1, 10),
        count=st.sampled_from([1, 1, 2, 5, 20, 60]) | st.integers(1, 100),
        every_s=st.sampled_from([0.0, 0.001, 0.05, 0.3]) | st.floats(0, 1),
        tenant=st.sampled_from(tenants),
        rows=st.sampled_from([1, 1, 8, 32, 100, 300, 1000, 2048]) | st.integers(1, 2048),
        row_tokens=st.sampled_from([4, 12, 43, 120, 250]) | st.integers(4, 250),
        timeout_s=st.sampled_from([0.5, 1.0, 2.0, 5.0, 10.0, 30.0]) | st.floats(0.5, 30),
    )
    return st.lists(wave, min_size=1, max_size=6)


def _arrivals(waves: Sequence[Wave], bulk: str = "") -> list[Request]:
    """The requests of all waves in order of arrival; those of the tenants `bulk` are in that
    lane."""
    lanes: list[Lane] = ["bulk" if wave.tenant in bulk else "default" for wave in waves]
    ends_s = accumulate(wave.after_s for wave in waves)
    parts = [
        wave.requests(end_s - wave.after_s, lane)
        for wave, end_s, lane in zip(waves, ends_s, lanes, strict=True)
    ]
    return sorted((one for part in parts for one in part), key=lambda one: one.at_s)


class _Play:
    def __init__(self, pace: Pace, limits: BatchLimits, seed: int) -> None:
        self.service = Service(limits, pace, seed)
        self._pace, self._limits = pace, limits
        self._under_way: dict[int, Request] = {}

    async def all(self, requests: Sequence[Request]) -> list[Told]:
        asked = []
        for number, request in enumerate(requests):
            await asyncio.sleep(request.at_s - self.service.clock())
            asked.append(asyncio.create_task(self._ask(number, request)))
        return await asyncio.gather(*asked)

    async def _ask(self, number: int, request: Request) -> Told:
        error: type[Exception] | None = None
        standing_s, began_s = self._standing_s(request), self.service.clock()
        self._under_way[number] = request
        try:
            lengths = np.full(request.rows, request.row_tokens, np.int32)
            await self.service.ask(lengths, request.timeout_s, request.lane, request.tenant)
        except (Overloaded, DeadlineExceeded) as failure:
            error = type(failure)
        del self._under_way[number]
        return Told(request, error, self.service.clock() - began_s, standing_s)

    def _standing_s(self, request: Request) -> float:
        """No less than it would take: what came just now may be counted twice."""
        now_s, limits = self.service.clock(), self._limits
        just_now = sum(
            one.tokens for one in self._under_way.values() if one.at_s > now_s - _TRANSIT_S
        )
        tokens = just_now + self.service.replica.batcher.queued_cost + request.tokens
        # The longest row may leave the rest of its batch free.
        batches = math.ceil(tokens / (limits.max_batch_tokens - 249))
        rows = math.ceil(tokens / request.row_tokens / limits.max_batch_rows)
        takes_s = (batches + rows) * self._pace.batch_s + tokens / self._pace.tokens_per_s
        if self._pace.each and limits.slots > 1:
            takes_s = takes_s / limits.slots + self._pace.seconds(limits.max_batch_tokens)
        return max(0.0, self.service.engine.busy_until_s - now_s) + takes_s + 2 * WAY_S


def _play(pace: Pace, limits: BatchLimits, requests: Sequence[Request], seed: int) -> list[Told]:
    async def main() -> list[Told]:
        return await _Play(pace, limits, seed).all(requests)

    return virtual_time.run(main())


_ONE_ENGINE, _ONE_SLOT = Pace(2_500), _limits(1, 1024)

# Each of these a Router refused by what it remembered of another refusal.
# The request that the refused one would have waited for had been given up at its deadline since.
_GIVEN_UP = [
    Wave(0.1, 1, 0, "a", 1, 4, 0.5),
    Wave(0.1, 9, 0.2, "a", 1, 4, 5),
    Wave(0.1, 1, 0, "a", 1000, 43, 1),
]
# The refused rows would have waited for the rest of their own request.
_TOO_LARGE = [
    Wave(0.1, 1, 0, "a", 100, 43, 10),
    Wave(2.5, 1, 0, "a", 2048, 43, 30),
    Wave(0.1, 1, 0, "a", 1, 4, 3),
]
# The same, and the tenth of a long deadline that is kept in hand was taken for work.
_KEPT_IN_HAND = [
    Wave(0.1, 1, 0, "a", 100, 43, 10),
    Wave(1.0, 1, 0, "a", 1550, 43, 30),
    Wave(0.1, 1, 0, "a", 1, 4, 3),
]


@example(_ONE_ENGINE, _ONE_SLOT, _GIVEN_UP, 0)
@example(_ONE_ENGINE, _ONE_SLOT, _TOO_LARGE, 0)
@example(_ONE_ENGINE, _ONE_SLOT, _KEPT_IN_HAND, 0)
@settings(max_examples=50, deadline=None)
@given(_PACES, _LIMITS, _waves("a"), st.integers(0, 9))
def test_one_tenant_alone_gets_what_first_come_first_served_would_do_in_half_its_deadline(
    pace: Pace, limits: BatchLimits, waves: list[Wave], seed: int
) -> None:
    """The tenant's queue is first come, first served itself, so this is exact, up to the luck of
    single batches: the reference is at the engine's average pace. Nobody is refused, either, who
    would be done in half its deadline behind what runs and waits at that moment; what was refused
    before, and the reference would have served, is no excuse."""
    requests = _arrivals(waves)
    done_s = FirstCome(pace, limits).done_s(requests)
    for told, at_s in zip(_play(pace, limits, requests, seed), done_s, strict=True):
        half_s = told.request.timeout_s / 2
        assert told.error is None or at_s - told.request.at_s > half_s, told
        assert told.error is not Overloaded or told.standing_s > half_s, told


@settings(max_examples=40, deadline=None)
@given(_PACES, _LIMITS, _waves("abc"), st.sampled_from(["", "b", "bc"]), st.integers(0, 9))
def test_each_of_several_tenants_gets_what_an_engine_of_its_share_would_do_in_half_its_deadline(
    pace: Pace, limits: BatchLimits, waves: list[Wave], bulk: str, seed: int
) -> None:
    """Sharing lets others overtake, so a tenant is compared with first come, first served among its
    own requests on an engine with its share of the pace, however the others flood. Batches are not
    divided: the one that runs in each slot and the rest of its own, which others fill, come on top
    (the bound of packet-wise fair queuing). Bulk yields to the others, and is not judged."""
    requests = _arrivals(waves, bulk)
    tenants = {one.tenant for one in requests}
    ahead = 1 if pace.each else limits.slots
    lag_s = (ahead + 1) * (1 + pace.noise) * pace.seconds(limits.max_batch_tokens)
    told = _play(pace, limits, requests, seed)
    for tenant in tenants - set(bulk):
        own = [one for one in told if one.request.tenant == tenant]
        shared = FirstCome(pace, limits, 1 / len(tenants))
        done_s = shared.done_s([one.request for one in own])
        for one, at_s in zip(own, done_s, strict=True):
            took_s = at_s - one.request.at_s + lag_s
            assert one.error is None or took_s > one.request.timeout_s / 2, one
