"""The load of every replica: in order, whatever the order of answers, and without stages that are
silent or asleep."""

import asyncio
from typing import Any

import pytest

from deployments.batching.replica_load import ReplicaLoad
from deployments.calls.client import StageClient
from deployments.errors import StageUnavailable
from deployments.web.replica_loads import replica_loads


class Answers:
    """A handle whose replicas answer `given`; an error is that of the call itself."""

    def __init__(self, *given: Any) -> None:
        self._given = given

    def broadcast(self, method: str) -> "Answers":
        assert method == "load"
        return self

    async def results_async(self, timeout_s: float, return_exceptions: bool) -> list[Any]:
        assert timeout_s > 0
        assert return_exceptions
        [first, *_] = self._given
        if isinstance(first, TimeoutError):
            await asyncio.sleep(0)
            raise first
        return list(self._given)


def _load(replica: str) -> ReplicaLoad:
    return ReplicaLoad(replica, 1, 2.0, 3.0, 4, 5)


def _client(*given: Any) -> StageClient:
    handle: Any = Answers(*given)
    return StageClient("embed", handle)


async def test_every_replica_is_there_but_the_one_that_died_meanwhile() -> None:
    client = _client(_load("b"), RuntimeError("it died"), _load("a"))
    found = await replica_loads({"embed": client})
    assert [one.replica for one in found.stages["embed"]] == ["a", "b"]
    assert found.stages["embed"][0].model_dump() == {
        "replica": "a",
        "queued_rows": 1,
        "queued_cost": 2.0,
        "oldest_wait_s": 3.0,
        "batches_done": 4,
        "cost_done": 5,
    }
    assert found.silent == []


async def test_a_stuck_replica_silences_its_own_stage_alone() -> None:
    stuck = _client(TimeoutError())
    with pytest.raises(StageUnavailable):
        await stuck.loads(1.0)
    found = await replica_loads({"embed": _client(_load("a")), "rerank": stuck})
    assert (list(found.stages), found.silent) == (["embed"], ["rerank"])


async def test_a_stage_that_sleeps_is_not_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StageClient, "sleeps", lambda _: True)
    found = await replica_loads({"embed": _client(TimeoutError())})
    assert (found.stages, found.silent) == ({"embed": []}, [])
