"""What keeps a stage from being ready, as a controller has it that may be away."""

import asyncio
import threading

import pytest

from deployments.calls import deployment_problems
from deployments.calls.deployment_problems import DeploymentProblems


async def test_a_controller_that_is_away_holds_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, may_answer = [], threading.Event()

    def messages() -> dict[str, str]:
        asked.append(1)
        may_answer.wait(10)
        return {"Embedder": "it cannot start"}

    monkeypatch.setattr(deployment_problems, "_messages", messages)
    monkeypatch.setattr(deployment_problems, "_TIMEOUT_S", 0.02)
    problems = DeploymentProblems({"embed": "Embedder"})
    assert await problems() == {}
    monkeypatch.setattr(deployment_problems, "_TIMEOUT_S", 3_600)
    async with asyncio.timeout(5):
        assert [await problems() for _ in range(4)] == [{}] * 4, "only the first waits"
    assert len(asked) == 1
    may_answer.set()
    async with asyncio.timeout(5):
        while not (found := await problems()):
            await asyncio.sleep(0.01)
    assert found == {"embed": "it cannot start"}
