"""A cluster of its own on this machine, to be loaded and hurt.

Started and changed by the command line that users have; its processes are found through Serve's
REST interface and by name.
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
from cluster.profile import application, load_profile
from loadtest.command_line import winnow
from loadtest.redis_server import RedisServer, redis_binary

_APPLICATION = "winnow"
_NAME_CHARACTERS = 15  # of which the kernel keeps no more
_SINGLE = "Index"  # the one writer of its directory
_REPLICAS = 2
_THREADS = 1


class Stand:
    """`directory` holds the cluster's state and its profile: if none is given the local one, with
    two replicas of each stage that may have two, and Ray's state in a Redis where there is one."""

    def __init__(self, directory: Path, profile: dict[str, Any] | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.state = State(directory)
        self._directory = directory
        self._profile = profile or load_profile("local")
        self._redis: RedisServer | None = None
        if profile is None:
            self._double()
            binary = redis_binary()
            self._redis = RedisServer(binary, directory) if binary else None

    def up(self) -> None:
        """Start it, or bring it to the profile as it is now; returns when all is ready."""
        path = self._directory / "profile.yaml"
        path.write_text(yaml.safe_dump(self._profile))
        new = [] if self.state.running() else self._new()
        winnow(self._directory, "up", "--profile", str(path), *new, quiet=True)

    def _new(self) -> list[str]:
        port = ["--port", str(free_ports(1)[0])]
        if not self._redis:
            return port
        self._redis.start()
        return [*port, "--redis", self._redis.address]

    def down(self) -> None:
        winnow(self._directory, "down", quiet=True)
        if self._redis:
            self._redis.stop()

    @property
    def survives_its_gcs(self) -> bool:
        return self._redis is not None

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

    def fewer_replicas(self) -> None:
        """One of each stage: the others are drained and stopped."""
        self._resize(_REPLICAS - 1)
        self.up()

    def more_replicas(self) -> None:
        self._resize(_REPLICAS)
        self.up()

    def _double(self) -> None:
        for stage in ("embedder", "reranker"):
            # Else a change of their number would be a new version of the engines.
            application(self._profile)["args"][stage]["engine"]["threads"] = _THREADS
        self._resize(_REPLICAS)

    def _resize(self, replicas: int) -> None:
        for deployment in application(self._profile)["deployments"]:
            if deployment["name"] != _SINGLE:
                deployment["num_replicas"] = replicas

    def replicas(self, deployment: str) -> list[int]:
        """Process ids of its running replicas."""
        [found] = [one for one in self.deployed().deployments if one.name == deployment]
        return list(found.pids)

    def controller(self) -> list[int]:
        return self._pids("ray::ServeController")

    def gcs(self) -> list[int]:
        return self._pids("gcs_server")

    def haproxy(self) -> list[int]:
        """Serve's own, the one that takes new connections first; a stand-in is none."""
        found = self._named("haproxy")
        own = [one for one in found if "haproxy.cfg" in " ".join(one.cmdline())]
        return [one.pid for one in sorted(own, key=lambda one: -one.create_time())]

    def _pids(self, name: str) -> list[int]:
        return [one.pid for one in self._named(name)]

    def _named(self, name: str) -> list[psutil.Process]:
        found = processes(self.running)
        return [one for one in found if one.name().startswith(name[:_NAME_CHARACTERS])]

    def is_whole(self) -> bool:
        """Every deployment has all its replicas, and the service says that it is ready."""
        if not is_alive(self.running):
            return False
        deployed = self.deployed()
        full = all(
            one.status == "HEALTHY" and len(one.pids) == one.wanted == sum(one.replicas.values())
            for one in deployed.deployments
        )
        ready = WinnowClient(self.running.url, self.state.api_key()).readiness()
        return deployed.status == "RUNNING" and full and bool(ready and ready["ready"])

    def deployed(self) -> ApplicationState:
        return self._serve().application(_APPLICATION)

    def _serve(self) -> ServeApi:
        return ServeApi(self.running.dashboard_port, self.state.ray_token())
