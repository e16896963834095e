"""What a Router knows of a stage that has scaled to zero, with a Serve of its own."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.calls.client import StageClient
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


@pytest.fixture
def caller() -> Iterator[DeploymentHandle[Any]]:
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"location": "NoServer"})
    zero = {"min_replicas": 0, "max_replicas": 1, "downscale_delay_s": 1, "look_back_period_s": 1}
    cheap = {"num_cpus": 0}
    stage = serve.deployment(autoscaling_config=zero, ray_actor_options=cheap)(Stage)
    caller = serve.deployment(ray_actor_options=cheap)(Caller)
    yield serve.run(caller.bind(stage.bind()), route_prefix=None)
    serve.shutdown()  # type: ignore[no-untyped-call]
    ray.shutdown()


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
