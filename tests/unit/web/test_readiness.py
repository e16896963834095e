"""Readiness: how often the stages are asked, what of it who sees, and what is left to sleep."""

import asyncio

import httpx
import pytest

from deployments.batching.stage_status import StageStatus
from deployments.errors import StageUnavailable
from deployments.request.deadline import Deadline
from deployments.web.readiness import ReadinessProbe
from tests.unit.service import TestService


class Stage:
    def __init__(self) -> None:
        self.asked = 0
        self.asleep = False
        self.failure: Exception | None = None

    def sleeps(self) -> bool:
        return self.asleep

    async def status(self, deadline: Deadline) -> StageStatus | str:
        self.asked += 1
        await asyncio.sleep(0.01)
        assert deadline.left_s() > 0
        if self.failure:
            raise self.failure
        return StageStatus("model", "fingerprint", 1, 2)


class Bench:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.embed, self.rerank = Stage(), Stage()
        stages = {"embed": self.embed, "rerank": self.rerank}
        self.problems: dict[str, str] = {}
        self.asked = 0
        self.probe = ReadinessProbe(stages, self._problems, lambda: self.now_s)

    async def _problems(self) -> dict[str, str]:
        self.asked += 1
        return self.problems


async def test_the_stages_are_asked_once_a_second() -> None:
    bench = Bench()
    first = asyncio.create_task(bench.probe.readiness())
    await asyncio.sleep(0)
    others = [asyncio.create_task(bench.probe.readiness()) for _ in range(20)]
    await asyncio.sleep(0)
    first.cancel()
    assert all(answer.ready for answer in await asyncio.gather(*others))
    bench.embed.failure = StageUnavailable("gone")
    bench.now_s = 0.9
    assert (await bench.probe.readiness()).ready
    assert bench.embed.asked == 1
    bench.now_s = 1.0
    readiness = await bench.probe.readiness()
    assert not readiness.ready
    assert readiness.stages["embed"].detail == "gone"
    assert readiness.stages["rerank"].queued_tokens == 2
    assert bench.embed.asked == 2


async def test_a_stage_that_has_scaled_to_zero_is_ready_and_not_woken() -> None:
    bench = Bench()
    bench.rerank.asleep = True
    readiness = await bench.probe.readiness()
    assert readiness.ready
    assert "scaled to zero" in str(readiness.stages["rerank"].detail)
    assert (bench.embed.asked, bench.rerank.asked) == (1, 0)


async def test_a_stage_that_cannot_start_has_its_reason() -> None:
    bench = Bench()
    bench.problems = {"embed": "ValueError: no such model"}
    bench.embed.failure = StageUnavailable("no healthy replica")
    readiness = await bench.probe.readiness()
    assert not readiness.ready
    assert readiness.stages["embed"].detail == "ValueError: no such model"
    assert readiness.stages["rerank"].detail is None


async def test_a_replica_that_cannot_start_beside_others_is_told_and_its_stage_is_ready() -> None:
    bench = Bench()
    bench.problems = {"rerank": "ValueError: no such model"}
    readiness = await bench.probe.readiness()
    assert readiness.ready
    assert readiness.stages["rerank"].detail == "ValueError: no such model"
    assert readiness.stages["rerank"].queued_tokens == 2


async def test_what_is_wrong_is_asked_at_once_if_a_stage_is_not_ready_and_seldom_else() -> None:
    bench = Bench()

    async def asked_at(now_s: float) -> int:
        bench.now_s = now_s
        await bench.probe.readiness()
        return bench.asked

    assert [await asked_at(second) for second in (0, 1, 8)] == [1, 1, 1]
    bench.embed.failure = StageUnavailable("gone")
    assert [await asked_at(second) for second in (9, 10, 11)] == [2, 3, 4]
    bench.embed.failure = None
    assert [await asked_at(second) for second in (12, 13, 21)] == [5, 5, 5]
    assert await asked_at(22) == 6


@pytest.mark.parametrize("ready", [True, False])
async def test_strangers_hear_yes_or_no(service: TestService, ready: bool) -> None:
    service.ready = ready
    reader, admin = await service.new_key("a", "read", "write"), await service.new_key("b", "admin")
    answers: list[httpx.Response] = [
        await service.send("GET", "/readyz", key=key) for key in ("wrong", reader, admin)
    ]
    assert {answer.status_code for answer in answers} == {200 if ready else 503}
    assert [answer.json() for answer in answers[:2]] == [{"ready": ready, "stages": {}}] * 2
    assert answers[2].json()["stages"]["embed"]["model"] == "model"
