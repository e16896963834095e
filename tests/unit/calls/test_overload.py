"""More work than a stage can do, in virtual time."""

import asyncio
import random
from dataclasses import dataclass

import numpy as np
import pytest

from deployments.batching.batcher import BatchLimits
from deployments.errors import DeadlineExceeded, Overloaded
from loadtest.simulate import virtual_time
from tests.unit.calls.virtual_stage import Pace, Service

_TOKENS_PER_S = 5_000.0
_ROWS, _ROW_TOKENS = 8, 30
_TOKENS = _ROWS * _ROW_TOKENS
_PER_S = _TOKENS_PER_S / _TOKENS


@dataclass(frozen=True, slots=True)
class Told:
    """`error` is None for what was answered."""

    tenant: str
    at_s: float
    took_s: float
    error: type[Exception] | None
    retry_after_s: float | None


class Stand:
    def __init__(self, batch_tokens: int = 2048) -> None:
        limits = BatchLimits(max_batch_tokens=batch_tokens)
        self.service = Service(limits, Pace(_TOKENS_PER_S, noise=0.1))
        self.told: list[Told] = []
        self._clock = self.service.clock
        self._random = random.Random(0)

    async def ask(self, tenant: str, timeout_s: float) -> Told:
        began_s, error, retry_after_s = self._clock(), None, None
        try:
            await self.service.ask([_ROW_TOKENS] * _ROWS, timeout_s, tenant=tenant)
        except (Overloaded, DeadlineExceeded) as failure:
            error, retry_after_s = type(failure), failure.retry_after_s
        told = Told(tenant, began_s, self._clock() - began_s, error, retry_after_s)
        self.told.append(told)
        return told

    async def send(self, tenant: str, per_s: float, seconds: float, timeout_s: float) -> None:
        """Poisson arrivals, whether or not those before were answered."""
        async with asyncio.TaskGroup() as group:
            until_s = self._clock() + seconds
            while self._clock() < until_s:
                await asyncio.sleep(self._random.expovariate(per_s))
                group.create_task(self.ask(tenant, timeout_s))


def of(stand: Stand, error: type[Exception] | None, after_s: float = 5.0) -> list[Told]:
    return [one for one in stand.told if one.error is error and one.at_s > after_s]


@pytest.mark.parametrize("timeout_s", [0.5, 2.0, 10.0])
def test_at_five_times_the_load_as_much_is_done_and_the_rest_is_refused_at_once(
    timeout_s: float,
) -> None:
    async def main() -> None:
        stand = Stand()
        await stand.send("a", 5 * _PER_S, 35, timeout_s)
        served, refused = of(stand, None), of(stand, Overloaded)
        replica = stand.service.replica
        assert len(served) / 30 > 0.9 * _PER_S
        assert len(of(stand, DeadlineExceeded)) < 0.01 * len(served)
        assert max(one.took_s for one in served) < timeout_s
        assert np.percentile([one.took_s for one in refused], 99) < 0.05
        assert all(one.retry_after_s is not None and one.retry_after_s < 31 for one in refused)
        assert replica.most_queued <= (timeout_s + 0.5) * _TOKENS_PER_S
        assert replica.calls < len(refused) / 2, "most of them were not even asked of it"

    virtual_time.run(main())


def test_who_keeps_to_its_share_is_not_refused_because_another_floods() -> None:
    async def main() -> None:
        stand = Stand()
        share = _PER_S / 3
        async with asyncio.TaskGroup() as group:
            group.create_task(stand.send("noisy", 10 * share, 40, 2.0))
            for quiet in ("b", "c"):
                group.create_task(stand.send(quiet, 0.6 * share, 40, 2.0))
        refused = [one.tenant for one in of(stand, Overloaded)]
        assert refused.count("noisy") > 500
        assert set(refused) == {"noisy"}
        late = [one.tenant for one in of(stand, DeadlineExceeded)]
        assert set(late) <= {"noisy"}
        # Its estimates learn that others come and take their shares.
        served = [one.tenant for one in of(stand, None)]
        assert len(late) < 0.1 * served.count("noisy")
        assert len(served) * _TOKENS / 35 > 0.9 * _TOKENS_PER_S

    virtual_time.run(main())


def test_who_keeps_to_its_share_waits_no_longer_beside_a_flood_than_two_batches_take() -> None:
    batch_tokens = 512

    def p99_s(noisy_per_s: float) -> float:
        async def main() -> float:
            stand = Stand(batch_tokens)
            async with asyncio.TaskGroup() as group:
                for quiet in ("b", "c"):
                    group.create_task(stand.send(quiet, 0.5 * _PER_S / 3, 120, 2.0))
                if noisy_per_s:
                    group.create_task(stand.send("noisy", noisy_per_s, 120, 2.0))
            took_s = [one.took_s for one in of(stand, None) if one.tenant != "noisy"]
            return float(np.percentile(took_s, 99))

        return virtual_time.run(main())

    assert p99_s(10 * _PER_S / 3) < p99_s(0) + 2 * batch_tokens / _TOKENS_PER_S


def test_all_who_come_again_when_they_were_told_find_room() -> None:
    """A burst of three deadlines' worth of work, and then nobody else."""

    async def main() -> None:
        stand = Stand()
        # So that the stage knows how fast it is.
        await asyncio.gather(*(stand.ask("warm", 30) for _ in range(40)))
        again: list[Told] = []

        async def twice() -> None:
            told = await stand.ask("a", 2.0)
            if told.error:
                assert told.retry_after_s is not None
                await asyncio.sleep(told.retry_after_s)
                again.append(await stand.ask("a", 2.0))

        await asyncio.gather(*(twice() for _ in range(round(6 * _PER_S))))
        assert len(again) > 3 * _PER_S
        assert sum(one.error is not None for one in again) < 0.25 * len(again)

    virtual_time.run(main())
