"""A stage without a replica, as a Router knows it: it has scaled to zero, or cannot start. With a
Serve of its own."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.calls.client import StageClient
from deployments.calls.deployment_problems import DeploymentProblems
from deployments.request.deadline import Deadline

_PATIENCE_S = 60


class Stage:
    async def status(self) -> str:
        return "awake"


class Caller:
    def __init__(self, stage: DeploymentHandle[Any]) -> None:
        self._stage = StageClient("stage", stage)

    async def sleeps(self) -> bool:
        return self._stage.sleeps()

    async def ask(self) -> str:
        answer: str = await self._stage.call("status", deadline=Deadline.after(30, time.monotonic))
        return answer


class BrokenStage:
    def __init__(self) -> None:
        raise ValueError("no such model")


class Witness:
    """Has a stage that cannot start."""

    def __init__(self, stage: DeploymentHandle[Any]) -> None:
        self._problems = DeploymentProblems({"embed": stage.deployment_name})

    async def problems(self) -> dict[str, str]:
        return await self._problems()


_CHEAP = {"num_cpus": 0}


@pytest.fixture(scope="module")
def _serve() -> Iterator[None]:
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"location": "NoServer"})
    yield
    serve.shutdown()  # type: ignore[no-untyped-call]
    ray.shutdown()


@pytest.mark.usefixtures("_serve")
def test_a_stage_that_cannot_start_has_its_reason() -> None:
    broken = serve.deployment(ray_actor_options=_CHEAP)(BrokenStage).bind()
    witness = serve.deployment(ray_actor_options=_CHEAP)(Witness).bind(broken)
    target = serve.RunTarget(witness, name="broken", route_prefix=None)
    [handle] = serve.run_many([target], wait_for_applications_running=False)
    until = time.monotonic() + _PATIENCE_S
    while not (found := handle.problems.remote().result()):
        assert time.monotonic() < until, "nobody says why"
        time.sleep(0.2)
    assert found == {"embed": "ValueError: no such model"}
    serve.delete("broken")


@pytest.fixture
def caller(_serve: None) -> DeploymentHandle[Any]:
    zero = {"min_replicas": 0, "max_replicas": 1, "downscale_delay_s": 1, "look_back_period_s": 1}
    stage = serve.deployment(autoscaling_config=zero, ray_actor_options=_CHEAP)(Stage)
    caller = serve.deployment(ray_actor_options=_CHEAP)(Caller)
    handle: DeploymentHandle[Any] = serve.run(caller.bind(stage.bind()), route_prefix=None)
    return handle


def test_a_stage_that_sleeps_is_known_to_and_one_that_is_awake_too(
    caller: DeploymentHandle[Any],
) -> None:
    assert caller.ask.remote().result() == "awake"
    assert not caller.sleeps.remote().result()
    until = time.monotonic() + _PATIENCE_S
    while not caller.sleeps.remote().result():
        assert time.monotonic() < until, "it never sleeps, or nobody hears of it"
        time.sleep(0.5)
    time.sleep(3)
    assert caller.sleeps.remote().result(), "to ask wakes it"
    assert caller.ask.remote().result() == "awake"
    assert not caller.sleeps.remote().result()
