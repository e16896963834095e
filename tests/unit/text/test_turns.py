"""Turns at the tokenizer: work of one origin is done in order, that of others beside it."""

import asyncio

import pytest

from deployments.request.origin import Origin
from deployments.text.turns import Turns


class Work:
    """Pieces of work that end when they are told to."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.begun: list[str] = []
        self.may_end = asyncio.Event()

    def start(self, name: str, origin: Origin) -> asyncio.Task[None]:
        return asyncio.create_task(self._do(name, origin))

    async def _do(self, name: str, origin: Origin) -> None:
        async with self.turns.of(origin):
            self.begun.append(name)
            await self.may_end.wait()


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_piece_of_each_origin_is_done_at_a_time() -> None:
    work = Work()
    a, b = Origin("a"), Origin("b")
    tasks = [work.start("a1", a), work.start("a2", a), work.start("b1", b)]
    tasks.append(work.start("a, search", Origin("a", "interactive")))
    await _settle()
    assert work.begun == ["a1", "b1", "a, search"]
    work.may_end.set()
    await asyncio.gather(*tasks)
    assert work.begun[-1] == "a2"


async def test_who_leaves_gives_the_turn_on_and_nothing_is_remembered() -> None:
    work = Work()
    first, second = work.start("first", Origin("a")), work.start("second", Origin("a"))
    await _settle()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await _settle()
    assert work.begun == ["first", "second"]
    work.may_end.set()
    await second
    assert not work.turns._locks
