"""Reasons why a stage is not ready, asked of a controller that may be away."""

import asyncio
import logging
import threading
from types import SimpleNamespace

import pytest
from ray import serve

from deployments.calls import deployment_problems
from deployments.calls.deployment_problems import DeploymentProblems


async def test_a_controller_that_is_away_holds_one_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked, may_answer = [], threading.Event()

    def messages(_: object) -> dict[str, str]:
        asked.append(1)
        may_answer.wait(10)
        return {"Embedder": "it cannot start"}

    monkeypatch.setattr(deployment_problems, "_messages", messages)
    monkeypatch.setattr(deployment_problems, "_TIMEOUT_S", 0.02)
    problems = DeploymentProblems({"embed": "Embedder"})
    assert await problems() == {}
    [logged] = caplog.records
    assert (logged.levelno, logged.exc_info) == (logging.WARNING, None)
    monkeypatch.setattr(deployment_problems, "_TIMEOUT_S", 3_600)
    async with asyncio.timeout(5):
        assert [await problems() for _ in range(4)] == [{}] * 4, "only the first waits"
    assert len(asked) == 1
    may_answer.set()
    async with asyncio.timeout(5):
        while not (found := await problems()):
            await asyncio.sleep(0.01)
    assert found == {"embed": "it cannot start"}


_FAILED = "A replica failed to start with exception. Retrying. Error:\nValueError: no such model\n"
_TAKES_LONG = "Deployment 'Embedder' has 1 replicas that have taken more than 30s to initialize.\n"


async def test_why_a_replica_failed_is_kept_while_the_next_one_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problems = DeploymentProblems({"embed": "Embedder"})

    async def found(status: str, message: str) -> dict[str, str]:
        deployments = {"Embedder": SimpleNamespace(status=status, message=message)}
        applications = {"winnow": SimpleNamespace(deployments=deployments)}
        monkeypatch.setattr(serve, "status", lambda: SimpleNamespace(applications=applications))
        return await problems()

    context = SimpleNamespace(app_name="winnow")
    monkeypatch.setattr(serve, "get_replica_context", lambda: context)
    failed = {"embed": "ValueError: no such model"}
    assert await found("UPSCALING", _TAKES_LONG) == {}
    assert await found("UPSCALING", _FAILED) == failed
    assert await found("UPSCALING", _TAKES_LONG) == failed
    assert await found("UPSCALING", _TAKES_LONG) == failed
    assert await found("HEALTHY", _TAKES_LONG) == {}
    assert await found("UPDATING", _TAKES_LONG) == {}, "of the next one"
