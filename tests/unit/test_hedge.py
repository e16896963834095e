"""A call that is stuck is made once more; slow ones and failures are not."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from deployments import hedge
from deployments.errors import StageUnavailable
from deployments.hedge import Hedge


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
def impatient(monkeypatch: pytest.MonkeyPatch) -> Hedge:
    monkeypatch.setattr(hedge, "_LEAST_PATIENCE_S", 0.02)
    return Hedge(Clock())


async def test_an_answer_in_time_is_asked_for_once(impatient: Hedge) -> None:
    assert await impatient.first(Replicas(1).call) == 1


async def test_another_is_asked_when_one_is_stuck(impatient: Hedge) -> None:
    replicas = Replicas(None, 2)
    assert await impatient.first(replicas.call) == 2
    await asyncio.sleep(0)
    assert replicas.cancelled == 1


async def test_a_failure_is_the_callers_to_see(impatient: Hedge) -> None:
    async def fail() -> int:
        raise StageUnavailable("gone")

    with pytest.raises(StageUnavailable):
        await impatient.first(fail)


async def test_a_caller_that_gives_up_takes_both_calls_with_it(impatient: Hedge) -> None:
    replicas = Replicas(None, None)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(impatient.first(replicas.call), 0.1)
    await asyncio.sleep(0)
    assert replicas.cancelled == 2


async def test_only_a_small_share_of_calls_is_made_twice(impatient: Hedge) -> None:
    for _ in range(10):
        assert await impatient.first(Replicas(None, 2).call) == 2
    replicas = Replicas(None, 2)
    # Ten in a row, each of which earned a tenth of one more.
    assert await impatient.first(replicas.call) == 2
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(impatient.first(Replicas(None, 2).call), 0.1)


async def test_patience_follows_how_long_calls_take() -> None:
    clock = Clock()
    patient = Hedge(clock)
    assert patient.patience_s == 2

    def taking(took_s: float) -> Callable[[], Awaitable[int]]:
        async def call() -> int:
            clock.now_s += took_s
            return 1

        return call

    for _ in range(50):
        await patient.first(taking(5))
    assert 18 < patient.patience_s < 21
