"""Questions asked one by one travel together, each gets its own answer, and tenants take turns."""

import asyncio
from collections.abc import Sequence

import pytest

from deployments.deadline import Deadline
from deployments.errors import NotFound
from deployments.fair_queue import Origin
from deployments.gatherer import Gatherer

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
    gatherer = Gatherer(stage.answer, 1, 100)
    asked = [asyncio.create_task(gatherer.ask(number, SOON, A)) for number in range(0, 20, 2)]
    await asyncio.sleep(0)
    stage.open.set()
    assert await asyncio.gather(*asked) == list(range(0, 40, 4))
    assert stage.calls == [[0], list(range(2, 20, 2))]


async def test_so_many_calls_at_once_of_so_many_questions(stage: Stage) -> None:
    gatherer = Gatherer(stage.answer, 2, 3)
    asked = [asyncio.create_task(gatherer.ask(number, SOON, A)) for number in range(0, 20, 2)]
    await asyncio.sleep(0.01)
    assert stage.calls == [[0], [2]]
    stage.open.set()
    await asyncio.gather(*asked)
    assert max(map(len, stage.calls)) == 3


async def test_each_hears_its_own_error(stage: Stage) -> None:
    stage.open.set()
    gatherer = Gatherer(stage.answer, 1, 100)
    asked = [gatherer.ask(number, SOON, A) for number in (2, 3, 4)]
    two, three, four = await asyncio.gather(*asked, return_exceptions=True)
    assert (two, four) == (4, 8)
    assert isinstance(three, NotFound)


async def test_all_hear_that_the_call_failed() -> None:
    async def fail(numbers: Sequence[int], _: Deadline) -> list[int | Exception]:
        raise ConnectionError(f"{len(numbers)} lost")

    gatherer = Gatherer(fail, 1, 100)
    asked = [gatherer.ask(number, SOON, A) for number in range(3)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["1 lost", "2 lost", "2 lost"]


async def test_tenants_take_turns(stage: Stage) -> None:
    gatherer = Gatherer(stage.answer, 1, 2)
    asked = [asyncio.create_task(gatherer.ask(number, SOON, A)) for number in (0, 2, 4, 6)]
    asked.append(asyncio.create_task(gatherer.ask(100, SOON, B)))
    await asyncio.sleep(0)
    stage.open.set()
    await asyncio.gather(*asked)
    assert stage.calls[1] == [2, 100]


async def test_who_has_gone_is_not_asked_for(stage: Stage) -> None:
    gatherer = Gatherer(stage.answer, 1, 100)
    first, gone, last = (asyncio.create_task(gatherer.ask(number, SOON, A)) for number in (0, 2, 4))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    stage.open.set()
    assert [await first, await last] == [0, 8]
    assert stage.calls == [[0], [4]]


async def test_a_call_has_the_time_of_whoever_has_most(stage: Stage) -> None:
    stage.open.set()
    gatherer = Gatherer(stage.answer, 1, 100)
    await asyncio.gather(*(gatherer.ask(0, limit, A) for limit in (SOON, LATER, SOON)))
    assert stage.deadlines == [SOON, LATER]
