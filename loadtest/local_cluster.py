"""A cluster on this machine with a state directory of its own, for a load test to use and to hurt.

Started and changed by the `winnow` command line. Its processes are found through Serve's REST API
and by name. Knows no load and no fault.
"""

from pathlib import Path
from typing import Any

import psutil
import yaml

from cluster.client import WinnowClient
from cluster.local.head import is_alive, processes
from cluster.local.ports import free_ports
from cluster.local.serve_api import ApplicationState, ServeApi
from cluster.local.state import RunningCluster, State
from cluster.profile import application
from loadtest.command_line import winnow

_APPLICATION = "winnow"
_NAME_CHARACTERS = 15  # the kernel keeps no more of a process's name
_SINGLE = "Index"  # the one writer of its directory


class LocalCluster:
    """`directory` holds the cluster's state, and `profile` as it was last deployed."""

    def __init__(self, directory: Path, profile: dict[str, Any]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.state = State(directory)
        self.profile = profile

    def up(self) -> None:
        """Start the cluster, or bring it to `profile` as it is now; returns when it is ready."""
        path = self.state.directory / "profile.yaml"
        path.write_text(yaml.safe_dump(self.profile))
        options = [] if self.state.running() else self._start_options()
        winnow(self.state.directory, "up", "--profile", str(path), *options, quiet=True)

    def _start_options(self) -> list[str]:
        """Options that `winnow up` takes only when it starts a cluster."""
        return ["--port", str(free_ports(1)[0])]

    def down(self) -> None:
        winnow(self.state.directory, "down", quiet=True)

    @property
    def running(self) -> RunningCluster:
        running = self.state.running()
        assert running is not None
        return running

    def client(self) -> WinnowClient:
        """A client with the first tenant's key."""
        return WinnowClient(self.running.url, self.state.api_key())

    def serve(self) -> ServeApi:
        return ServeApi(self.running.dashboard_port, self.state.ray_token())

    def deployed(self) -> ApplicationState:
        return self.serve().application(_APPLICATION)

    def is_whole(self) -> bool:
        """True when every deployment has all its replicas and the service says it is ready."""
        if not is_alive(self.running):
            return False
        deployed = self.deployed()
        full = all(
            one.status == "HEALTHY" and len(one.pids) == one.wanted == sum(one.replicas.values())
            for one in deployed.deployments
        )
        ready = self.client().readiness()
        return deployed.status == "RUNNING" and full and bool(ready and ready["ready"])

    def new_version(self) -> None:
        """Change the application's arguments: Serve replaces every replica."""
        application(self.profile)["args"]["router"]["tokenizer_threads"] += 1
        self.up()

    def reconfigure(self) -> None:
        """Change `user_config`: Serve replaces no replica."""
        for deployment in application(self.profile)["deployments"]:
            if "max_batch_tokens" in deployment.get("user_config", {}):
                deployment["user_config"]["max_batch_tokens"] += 1
        self.up()

    def resize(self, replicas: int) -> None:
        """Give every deployment but the Index this many replicas, when `up` is next called."""
        for deployment in application(self.profile)["deployments"]:
            if deployment["name"] != _SINGLE:
                deployment["num_replicas"] = replicas

    def replicas(self, deployment: str) -> list[int]:
        """Process ids of the deployment's running replicas."""
        [found] = [one for one in self.deployed().deployments if one.name == deployment]
        return list(found.pids)

    def engines(self, deployment: str) -> list[int]:
        """Process ids of its replicas' engines, which a fork server of each replica has forked."""
        servers = [
            child for pid in self.replicas(deployment) for child in psutil.Process(pid).children()
        ]
        return [engine.pid for server in servers for engine in server.children()]

    def controller(self) -> list[int]:
        """Process ids of Serve's controller."""
        return self._pids("ray::ServeController")

    def gcs(self) -> list[int]:
        """Process ids of Ray's GCS."""
        return self._pids("gcs_server")

    def haproxy(self) -> list[int]:
        """Process ids of the HAProxies that Serve started, newest first, without stand-ins."""
        started = [
            one for one in self._named("haproxy") if "haproxy.cfg" in " ".join(one.cmdline())
        ]
        return [one.pid for one in sorted(started, key=lambda one: -one.create_time())]

    def _pids(self, name: str) -> list[int]:
        return [one.pid for one in self._named(name)]

    def _named(self, name: str) -> list[psutil.Process]:
        found = processes(self.running)
        return [one for one in found if one.name().startswith(name[:_NAME_CHARACTERS])]
