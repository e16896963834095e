"""The Index as a Router calls it while its store is away: what is asked, and who waits for it."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from ray.exceptions import RayActorError
from ray.serve.handle import DeploymentHandle

from deployments.calls.index_client import IndexClient
from deployments.errors import StoreUnavailable, WinnowError
from deployments.request.deadline import Clock, Deadline
from deployments.request.origin import Origin
from deployments.rows.searches import SearchAnswers
from deployments.stores.base import IndexSearch, Namespace, Page, VectorQuery
from loadtest.simulate import virtual_time
from tests.whole.app import handle

_ME = Origin("me")
_NS = Namespace("me", "docs")
_SEARCH = IndexSearch(VectorQuery(_NS, np.ones(2, np.float32), 1), "fingerprint")


class Replica:
    """Its store answers after `takes_s`, if it is not away."""

    def __init__(self) -> None:
        self.calls = 0
        self.away = True
        self.takes_s = 0.0

    async def search(self, searches: list[IndexSearch], *_: object) -> SearchAnswers | WinnowError:
        try:
            await self._ask()
        except StoreUnavailable as away:
            return away
        return SearchAnswers(([],) * len(searches))

    async def scan(self, *_: object) -> Page:
        await self._ask()
        return Page([], None)

    async def delete(self, *_: object) -> int:
        await self._ask()
        return 0

    async def status(self) -> str:
        raise StoreUnavailable("the directory of the index cannot be written to")

    async def _ask(self) -> None:
        self.calls += 1
        await asyncio.sleep(self.takes_s)
        if self.away:
            raise StoreUnavailable("the index does not answer")


class Bench:
    def __init__(self) -> None:
        self.clock = asyncio.get_running_loop().time
        self.replica = Replica()
        self.index = IndexClient("retrieve", handle(self.replica), self.clock)

    def calls(self) -> list[Coroutine[Any, Any, Any]]:
        late = Deadline.after(30, self.clock)
        return [
            self.index.search(_SEARCH, late, _ME),
            self.index.scan(_NS, None, 10, late),
            self.index.delete(_NS, ["a"], None, late),
        ]

    async def all_fail(self) -> None:
        for outcome in await asyncio.gather(*self.calls(), return_exceptions=True):
            assert isinstance(outcome, StoreUnavailable)


def test_nobody_waits_for_a_store_that_refuses() -> None:
    async def main() -> None:
        bench = Bench()
        began_s = bench.clock()
        await bench.all_fail()
        assert bench.replica.calls <= 3 + 3 + 1
        assert bench.clock() - began_s < 0.5
        calls = bench.replica.calls
        for _ in range(100):
            await bench.all_fail()
        assert bench.replica.calls <= calls + 1
        with pytest.raises(StoreUnavailable):
            bench.index.admit(Deadline.after(30, bench.clock), _ME)

    virtual_time.run(main())


def test_few_wait_for_a_store_that_says_nothing_and_all_are_served_when_it_is_back() -> None:
    async def main() -> None:
        bench = Bench()
        bench.replica.takes_s = 10.0
        waiting = 0
        most = 0

        async def count(call: Coroutine[Any, Any, Any]) -> None:
            nonlocal waiting
            waiting += 1
            with pytest.raises(StoreUnavailable):
                await call
            waiting -= 1

        async with asyncio.TaskGroup() as group:
            for second in range(100):
                for call in bench.calls():
                    group.create_task(count(call))
                await asyncio.sleep(1)
                if second > 45:
                    most = max(most, waiting)
        assert most <= 6, "one each two seconds"
        bench.replica.away = False
        bench.replica.takes_s = 0.0
        await asyncio.sleep(2.1)
        await bench.index.scan(_NS, None, 10, Deadline.after(30, bench.clock))
        for _ in range(10):
            await asyncio.gather(*bench.calls())

    virtual_time.run(main())


def test_a_store_that_is_not_ready_may_still_answer() -> None:
    async def main() -> None:
        bench = Bench()
        bench.replica.away = False
        for _ in range(5):
            with pytest.raises(StoreUnavailable):
                await bench.index.status(Deadline.after(2, bench.clock))
            await asyncio.gather(*bench.calls())

    virtual_time.run(main())


class _StoppedIndex:
    """Serve's handle to an Index whose one replica is stopped, killed at 12 s and replaced at 17 s;
    a call to none waits for the next one."""

    deployment_name = "Index"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def running(self) -> frozenset[str]:
        now_s = self._clock()
        return frozenset(["stopped"] if now_s < 12 else ["next"] if now_s >= 17 else [])

    def __getattr__(self, method: str) -> Any:
        return SimpleNamespace(remote=lambda *_: asyncio.create_task(self._call(method)))

    async def _call(self, method: str) -> object:
        if self.running() == {"stopped"}:
            await asyncio.sleep(12 - self._clock())
            raise RayActorError
        await asyncio.sleep(max(0.0, 17 - self._clock()))
        return SearchAnswers(([],)) if method == "search" else 0


def test_nobody_waits_long_for_an_index_that_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        clock = asyncio.get_running_loop().time
        handle = _StoppedIndex(clock)
        monkeypatch.setattr(IndexClient, "running", lambda _: handle.running())
        index = IndexClient("retrieve", cast(DeploymentHandle[Any], handle), clock)
        waited_s: list[float] = []
        answered_s: list[float] = []

        async def ask(method: str) -> None:
            began_s, late = clock(), Deadline.after(30, clock)
            calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
                "search": lambda: index.search(_SEARCH, late, _ME),
                "upsert": lambda: index.upsert(_NS, [], "fingerprint", late),
                "delete": lambda: index.delete(_NS, ["a"], None, late),
                "drop": lambda: index.drop(_NS, late),
            }
            with contextlib.suppress(StoreUnavailable):
                await calls[method]()
                answered_s.append(began_s)
            waited_s.append(clock() - began_s)

        async with asyncio.TaskGroup() as group:
            for number in range(300):
                group.create_task(ask(("search", "upsert", "delete", "drop")[number % 4]))
                await asyncio.sleep(0.1)
        assert 2 < max(waited_s) < 3.1
        assert len([one for one in answered_s if one >= 19.1]) == 109, "all, soon after it is back"

    virtual_time.run(main())
