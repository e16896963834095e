"""The cluster that is hurt: two replicas of each stage that may have two, on this machine.

Started and changed by the command line that users have; its processes are found through Serve's
REST interface and by name.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from cluster.client import WinnowClient
from cluster.head import is_alive, processes
from cluster.ports import free_ports
from cluster.profile import application, load_profile
from cluster.serve_api import ApplicationState, ServeApi
from cluster.state import RunningCluster, State
from loadtest.command_line import winnow

_APPLICATION = "winnow"
_NAME_CHARACTERS = 15  # of which the kernel keeps no more
_SINGLE = "Index"  # the one writer of its directory


class Stand:
    """`directory` holds the cluster's state and its profile."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.state = State(directory)
        self._directory = directory
        self._profile = _doubled(load_profile("local"))

    def up(self) -> None:
        """Start it, or bring it to the profile as it is now; returns when all is ready."""
        path = self._directory / "profile.yaml"
        path.write_text(yaml.safe_dump(self._profile))
        port = [] if self.state.running() else ["--port", str(free_ports(1)[0])]
        winnow(self._directory, "up", "--profile", str(path), *port, quiet=True)

    def down(self) -> None:
        winnow(self._directory, "down", quiet=True)

    @property
    def running(self) -> RunningCluster:
        running = self.state.running()
        assert running is not None
        return running

    def new_version(self) -> None:
        """A change of the application's arguments, for which Serve replaces every replica."""
        router = application(self._profile)["args"]["router"]
        router["tokenizer_threads"] += 1
        self.up()

    def reconfigure(self) -> None:
        """A change of what may be turned live, for which no replica is replaced."""
        for deployment in application(self._profile)["deployments"]:
            if "max_batch_tokens" in deployment.get("user_config", {}):
                deployment["user_config"]["max_batch_tokens"] += 1
        self.up()

    def replicas(self, deployment: str) -> list[int]:
        """Process ids of its running replicas."""
        [found] = [one for one in self._deployed().deployments if one.name == deployment]
        return list(found.pids)

    def controller(self) -> list[int]:
        return self._named("ray::ServeController")

    def haproxy(self) -> list[int]:
        return self._named("haproxy")

    def _named(self, name: str) -> list[int]:
        found = processes(self.running)
        return [one.pid for one in found if one.name().startswith(name[:_NAME_CHARACTERS])]

    def is_whole(self) -> bool:
        """Every deployment has all its replicas, and the service says that it is ready."""
        if not is_alive(self.running):
            return False
        deployed = self._deployed()
        full = all(
            one.status == "HEALTHY" and len(one.pids) == one.wanted == sum(one.replicas.values())
            for one in deployed.deployments
        )
        ready = WinnowClient(self.running.url, self.state.api_key()).readiness()
        return deployed.status == "RUNNING" and full and bool(ready and ready["ready"])

    def _deployed(self) -> ApplicationState:
        return self._serve().application(_APPLICATION)

    def _serve(self) -> ServeApi:
        return ServeApi(self.running.dashboard_port, self.state.ray_token())


def _doubled(local: dict[str, Any]) -> dict[str, Any]:
    profile = deepcopy(local)
    for deployment in application(profile)["deployments"]:
        if deployment["name"] != _SINGLE:
            deployment["num_replicas"] = 2
    return profile
