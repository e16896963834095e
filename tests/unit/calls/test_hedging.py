"""A call that is stuck is made again, twice at most; slow ones and failures are not."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from deployments.calls import hedging
from deployments.calls.hedging import Hedging
from deployments.errors import NotFound, StageUnavailable


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Replicas:
    """Answers each call by the next of `answers`: a number at once, None never."""

    def __init__(self, *answers: int | None) -> None:
        self._answers = list(answers)
        self.cancelled = 0

    async def call(self) -> int:
        answer = self._answers.pop(0)
        if answer is not None:
            return answer
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled += 1
        raise AssertionError


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Hedging:
    monkeypatch.setattr(hedging, "_LEAST_PATIENCE_S", 0.02)
    return Hedging(Clock())


async def test_an_answer_in_time_is_asked_for_once(impatient: Hedging) -> None:
    assert await impatient.first(Replicas(1).call) == 1


async def test_another_is_asked_when_one_is_stuck(impatient: Hedging) -> None:
    replicas = Replicas(None, 2)
    assert await impatient.first(replicas.call) == 2
    await asyncio.sleep(0)
    assert replicas.cancelled == 1


async def test_a_third_is_asked_when_the_second_is_stuck_and_no_fourth(
    impatient: Hedging,
) -> None:
    assert await impatient.first(Replicas(None, None, 3).call) == 3
    replicas = Replicas(None, None, None, 4)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(impatient.first(replicas.call), 0.2)


async def test_a_stuck_call_is_made_again_when_others_have_earned_it(impatient: Hedging) -> None:
    for _ in range(10):
        await impatient.first(Replicas(None, 2).call)
    late = asyncio.create_task(impatient.first(Replicas(None, 2).call))
    await asyncio.sleep(0.1)
    late.cancel()
    stuck = asyncio.create_task(impatient.first(Replicas(None, 2).call))
    await asyncio.sleep(0.1)
    assert not stuck.done()
    for _ in range(20):
        await impatient.first(Replicas(1).call)
    assert await asyncio.wait_for(stuck, 20) == 2


async def test_a_failure_is_the_callers_to_see(impatient: Hedging) -> None:
    async def fail() -> int:
        raise StageUnavailable("gone")

    with pytest.raises(StageUnavailable):
        await impatient.first(fail)


async def test_a_second_call_that_fails_leaves_the_first_its_chance(impatient: Hedging) -> None:
    first = asyncio.Event()
    tries = 0

    async def call() -> int:
        nonlocal tries
        tries += 1
        if tries == 2:
            first.set()
            raise StageUnavailable("full")
        await first.wait()
        await asyncio.sleep(0.01)
        return 1

    assert await impatient.first(call) == 1
    assert tries == 2


async def test_a_second_call_that_is_told_what_is_wrong_with_it_has_an_answer(
    impatient: Hedging,
) -> None:
    stuck = Replicas(None)
    calls = iter([stuck.call, _not_found])
    async with asyncio.timeout(5):
        with pytest.raises(NotFound):
            await impatient.first(lambda: next(calls)())
    await asyncio.sleep(0)
    assert stuck.cancelled == 1


async def _not_found() -> int:
    raise NotFound("no such collection")


async def test_a_caller_that_gives_up_takes_all_calls_with_it(impatient: Hedging) -> None:
    replicas = Replicas(None, None, None)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(impatient.first(replicas.call), 0.1)
    await asyncio.sleep(0)
    assert replicas.cancelled == 3


async def test_only_a_small_share_of_calls_is_made_twice(impatient: Hedging) -> None:
    twice = 0
    with contextlib.suppress(TimeoutError):
        while True:
            await asyncio.wait_for(impatient.first(Replicas(None, 2).call), 0.1)
            twice += 1
    # Ten in a row, and one more for the ten answers that each earned a tenth of it.
    assert twice in (10, 11)


async def test_patience_follows_how_long_calls_take() -> None:
    clock = Clock()
    patient = Hedging(clock)
    assert patient.patience_s == 2

    def taking(took_s: float) -> Callable[[], Awaitable[int]]:
        async def call() -> int:
            clock.now_s += took_s
            return 1

        return call

    for _ in range(50):
        await patient.first(taking(5))
    assert 18 < patient.patience_s < 21


async def test_stuck_replicas_do_not_make_the_next_callers_wait_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hedging, "_LEAST_PATIENCE_S", 0.02)
    clock = Clock()
    hedged = Hedging(clock)
    for _ in range(10):
        calls = 0

        async def call() -> int:
            nonlocal calls
            calls += 1
            if calls == 1:
                await asyncio.Event().wait()
            clock.now_s += 0.001
            return 1

        asking = asyncio.create_task(hedged.first(call))
        await asyncio.sleep(0.005)
        clock.now_s += 2  # while the first is stuck
        assert await asking == 1
        assert calls == 2
    assert hedged.patience_s == pytest.approx(0.02)
