"""Questions of a tenant travel together, each gets its own answer, tenants do not wait for one
another, and what cannot be answered in time is refused."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from deployments.calls.search_batches import Gatherer, Limits
from deployments.errors import NotFound, Overloaded
from deployments.request.deadline import Deadline
from deployments.request.origin import Origin

A, B = Origin("a"), Origin("b")
SOON = Deadline(1.0, lambda: 0.0)
LATER = Deadline(2.0, lambda: 0.0)


class Stage:
    """Answers 2n to n, once it is let; notes what each call asked."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.deadlines: list[Deadline] = []
        self.open = asyncio.Event()

    async def answer(self, numbers: Sequence[int], deadline: Deadline) -> list[int | Exception]:
        self.calls.append(list(numbers))
        self.deadlines.append(deadline)
        await self.open.wait()
        return [NotFound("odd") if number % 2 else 2 * number for number in numbers]


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_what_waits_goes_together(stage: Stage) -> None:
    gatherer = Gatherer("retrieve", stage.answer, Limits(4, 1, 100))
    asked = [asyncio.create_task(gatherer.ask(number, SOON, A)) for number in range(0, 20, 2)]
    await asyncio.sleep(0)
    stage.open.set()
    assert await asyncio.gather(*asked) == list(range(0, 40, 4))
    assert stage.calls == [[0], list(range(2, 20, 2))]


async def test_so_many_calls_at_once_of_so_many_questions(stage: Stage) -> None:
    gatherer = Gatherer("retrieve", stage.answer, Limits(4, 2, 3))
    asked = [asyncio.create_task(gatherer.ask(number, SOON, A)) for number in range(0, 20, 2)]
    await asyncio.sleep(0.01)
    assert stage.calls == [[0], [2]]
    stage.open.set()
    await asyncio.gather(*asked)
    assert max(map(len, stage.calls)) == 3


async def test_each_hears_its_own_error(stage: Stage) -> None:
    stage.open.set()
    gatherer = Gatherer("retrieve", stage.answer, Limits(4, 1, 100))
    asked = [gatherer.ask(number, SOON, A) for number in (2, 3, 4)]
    two, three, four = await asyncio.gather(*asked, return_exceptions=True)
    assert (two, four) == (4, 8)
    assert isinstance(three, NotFound)


async def test_all_hear_that_the_call_failed() -> None:
    async def fail(numbers: Sequence[int], _: Deadline) -> list[int | Exception]:
        raise ConnectionError(f"{len(numbers)} lost")

    gatherer = Gatherer("retrieve", fail, Limits(4, 1, 100))
    asked = [gatherer.ask(number, SOON, A) for number in range(3)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["1 lost", "2 lost", "2 lost"]


async def test_a_call_is_of_one_tenant_and_waits_for_no_other(stage: Stage) -> None:
    gatherer = Gatherer("retrieve", stage.answer, Limits(4, 1, 100))
    asked = [asyncio.create_task(gatherer.ask(number, SOON, A)) for number in (0, 2, 4)]
    asked += [asyncio.create_task(gatherer.ask(number, SOON, B)) for number in (100, 102)]
    await asyncio.sleep(0.01)
    assert stage.calls == [[0], [100]]
    stage.open.set()
    assert await asyncio.gather(*asked) == [0, 4, 8, 200, 204]
    assert stage.calls[2:] == [[2, 4], [102]]


async def test_where_all_calls_are_under_way_tenants_take_turns(stage: Stage) -> None:
    gatherer = Gatherer("retrieve", stage.answer, Limits(1, 2, 1))
    asked = [asyncio.create_task(gatherer.ask(number, SOON, A)) for number in (0, 2, 4, 6)]
    asked += [asyncio.create_task(gatherer.ask(number, SOON, B)) for number in (100, 102)]
    await asyncio.sleep(0.01)
    stage.open.set()
    await asyncio.gather(*asked)
    assert stage.calls == [[0], [2], [100], [4], [102], [6]]


class Slow:
    """Its calls come back, one by one, when they are let."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.calls: list[int] = []
        self._waiting: list[asyncio.Future[None]] = []

    def deadline(self, left_s: float) -> Deadline:
        return Deadline(self.now_s + left_s, lambda: self.now_s)

    async def answer(self, numbers: Sequence[int], _: Deadline) -> list[int]:
        self.calls.append(len(numbers))
        self._waiting.append(asyncio.get_running_loop().create_future())
        await self._waiting[-1]
        return list(numbers)

    async def let_one_back(self, after_s: float) -> None:
        self.now_s += after_s
        self._waiting.pop(0).set_result(None)
        await asyncio.sleep(0.01)


async def test_what_cannot_be_answered_in_time_is_refused_and_no_other_tenants() -> None:
    slow = Slow()
    gatherer = Gatherer("retrieve", slow.answer, Limits(4, 1, 100))
    first = asyncio.create_task(gatherer.ask(1, slow.deadline(9), A))
    await asyncio.sleep(0.01)
    await slow.let_one_back(after_s=1)
    assert await first == 1
    under_way = asyncio.create_task(gatherer.ask(2, slow.deadline(9), A))
    await asyncio.sleep(0.01)
    with pytest.raises(Overloaded) as refusal:
        await gatherer.ask(3, slow.deadline(1), A)
    # The one under way, and one more, less nine tenths of the time it had.
    assert refusal.value.retry_after_s == pytest.approx(2 - 0.9)
    with pytest.raises(Overloaded):
        gatherer.turn_away(slow.deadline(1), A)
    gatherer.turn_away(slow.deadline(3), A)
    gatherer.turn_away(slow.deadline(1), B)
    await slow.let_one_back(after_s=1)
    assert await under_way == 2
    gatherer.turn_away(slow.deadline(1), A)  # none under way: a call shows how long they take now


async def test_a_call_that_waited_for_a_replica_closes_the_stage_to_nobody_with_time() -> None:
    slow = Slow()
    gatherer = Gatherer("retrieve", slow.answer, Limits(4, 1, 100))
    for _ in range(3):
        waited = asyncio.create_task(gatherer.ask(1, slow.deadline(30), A))
        await asyncio.sleep(0.01)
        await slow.let_one_back(after_s=20)
        await waited
    under_way = asyncio.create_task(gatherer.ask(2, slow.deadline(30), A))
    await asyncio.sleep(0.01)
    gatherer.turn_away(slow.deadline(5), A)
    under_way.cancel()


async def test_calls_that_take_long_are_made_smaller_and_short_ones_larger() -> None:
    slow = Slow()
    gatherer = Gatherer("retrieve", slow.answer, Limits(4, 1, 64))
    asked = [asyncio.create_task(gatherer.ask(n, slow.deadline(900), A)) for n in range(400)]
    await asyncio.sleep(0.01)
    for took_s in (0.1, 1.0, 0.25, 0.25, 0.125, 0.25):
        await slow.let_one_back(took_s)
    assert slow.calls == [1, 64, 16, 16, 16, 32, 32]
    asked.append(asyncio.create_task(gatherer.ask(1_000, slow.deadline(900), B)))
    await asyncio.sleep(0.01)
    await slow.let_one_back(0.25)
    assert slow.calls[-2:] == [1, 12], "another tenant asks as well"
    for one in asked:
        one.cancel()


async def test_who_has_gone_is_not_asked_for(stage: Stage) -> None:
    gatherer = Gatherer("retrieve", stage.answer, Limits(4, 1, 100))
    first, gone, last = (asyncio.create_task(gatherer.ask(number, SOON, A)) for number in (0, 2, 4))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    stage.open.set()
    assert [await first, await last] == [0, 8]
    assert stage.calls == [[0], [4]]


async def test_a_call_has_the_time_of_whoever_has_most(stage: Stage) -> None:
    stage.open.set()
    gatherer = Gatherer("retrieve", stage.answer, Limits(4, 1, 100))
    await asyncio.gather(*(gatherer.ask(0, limit, A) for limit in (SOON, LATER, SOON)))
    assert stage.deadlines == [SOON, LATER]


async def test_a_call_is_made_in_no_requests_context() -> None:
    """Serve ends what was called in the context of a request whose client is gone."""
    request = ContextVar("request", default="none")
    seen: list[str] = []

    async def answer(numbers: Sequence[int], _: Deadline) -> list[int]:
        seen.append(request.get())
        await asyncio.sleep(0)
        return list(numbers)

    request.set("first")
    gatherer = Gatherer("retrieve", answer, Limits(4, 1, 100))
    await asyncio.gather(*(gatherer.ask(number, SOON, A) for number in range(3)))
    assert seen == ["none", "none"]
