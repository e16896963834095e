"""Processes of a replica end with it, by the variables that every Ray process of ours has."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import ray

from cluster.environment import SERVE_ENVIRONMENT

_PATIENCE_S = 20


class Replica:
    def start_engine(self) -> tuple[int, int]:
        return os.getpid(), subprocess.Popen(["sleep", "600"]).pid

    def end(self) -> None:
        os._exit(1)


@pytest.fixture
def _ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in SERVE_ENVIRONMENT.items():
        if name != "RAY_AUTH_MODE":
            monkeypatch.setenv(name, value)
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("_ray")
@pytest.mark.parametrize("killed", [True, False])
def test_an_engine_ends_with_its_replica(killed: bool) -> None:
    replica: Any = ray.remote(num_cpus=0, max_restarts=0)(Replica).remote()
    pid, engine = ray.get(replica.start_engine.remote())
    assert psutil.pid_exists(engine)
    if killed:
        os.kill(pid, signal.SIGKILL)
    else:
        replica.end.remote()
    until = time.monotonic() + _PATIENCE_S
    while psutil.pid_exists(engine):
        assert time.monotonic() < until, "it lives on"
        time.sleep(0.1)
