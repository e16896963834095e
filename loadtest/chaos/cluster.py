"""The chaos runner's own cluster: two replicas a stage, and a Redis that keeps Ray's state."""

import os
from pathlib import Path
from typing import Any

from cluster.profile import application, load_profile
from cluster.stages import MODEL_STAGES
from loadtest.local_cluster import LocalCluster
from loadtest.redis_server import RedisServer, redis_binary

REPLICAS = 2


class ReplicatedCluster(LocalCluster):
    """The local profile with two replicas of every deployment but the Index.

    The chaos runner's other cluster is ProductionCluster, which has two of that as well.

    Without a redis-server on this machine Ray's state is not kept: `survives_its_gcs` is False.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, _cores_divided(load_profile("local")))
        self.resize(REPLICAS)
        binary = redis_binary()
        self._redis = RedisServer(binary, self.state.directory) if binary else None

    @property
    def survives_its_gcs(self) -> bool:
        return self._redis is not None

    def _start_options(self) -> list[str]:
        options = super()._start_options()
        if self._redis is None:
            return options
        self._redis.start()
        return [*options, "--redis", self._redis.address]

    def down(self) -> None:
        super().down()
        if self._redis is not None:
            self._redis.stop()


def _cores_divided(profile: dict[str, Any]) -> dict[str, Any]:
    """Give a replica's engines its part of the cores, one each, however many replicas there are: a
    change of that number is to be no new version of the engines."""
    for names in MODEL_STAGES.values():
        engine = application(profile)["args"][names.field]["engine"]
        engine |= {"threads": 1, "copies": max(1, (os.cpu_count() or 1) // REPLICAS)}
    return profile
