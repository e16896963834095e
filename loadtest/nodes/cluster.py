"""A cluster whose nodes come and go: a head, and for each model stage nodes with one GPU.

The GPUs are only counted. Ray's own autoscaler adds and removes the nodes, as processes of this
machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.local.nodes_api import NodesApi
from cluster.profile import application
from cluster.stages import MODEL_STAGES, ModelStage
from loadtest.local_cluster import LocalCluster
from loadtest.scaled import scaled_profile

MOST = 3


@dataclass(frozen=True, slots=True)
class StageSize:
    """The nodes of one stage, its running replicas on them, and the replicas Serve asks for."""

    nodes: int
    replicas: int
    asked: int


class AutoscaledCluster(LocalCluster):
    """A node group for each model stage, and those of `others`."""

    def __init__(self, directory: Path, others: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(directory, _profile())
        self._groups = [*(group(stage, MOST) for stage in MODEL_STAGES), *others]

    def _start_options(self) -> list[str]:
        path = self.state.directory / "nodes.yaml"
        path.write_text(yaml.safe_dump({"groups": self._groups}))
        return [*super()._start_options(), "--nodes", str(path)]

    def nodes(self) -> NodesApi:
        return NodesApi(self.running.dashboard_port, self.state.ray_token())

    def sizes(self) -> dict[ModelStage, StageSize]:
        """The present size of each model stage. Raises httpx.HTTPError."""
        deployments = {one.name: one for one in self.deployed().deployments}
        nodes = self.nodes().alive()
        sizes: dict[ModelStage, StageSize] = {}
        for stage, names in MODEL_STAGES.items():
            own = {node.id for node in nodes if node.role == stage}
            deployment = deployments[names.deployment]
            on_own = sum(node in own for node in deployment.nodes)
            sizes[stage] = StageSize(len(own), on_own, deployment.wanted)
        return sizes


def _profile() -> dict[str, Any]:
    """Place each replica of a model stage on a node of its own, and the rest on the head."""
    scaled = scaled_profile(MOST)
    stage_of = {names.deployment: stage for stage, names in MODEL_STAGES.items()}
    for deployment in application(scaled)["deployments"]:
        stage = stage_of.get(deployment["name"])
        deployment["ray_actor_options"] = (
            {"num_cpus": 1, "num_gpus": 1, "label_selector": {"winnow/role": stage}}
            if stage
            else {"num_cpus": 0, "label_selector": {"winnow/role": "head"}}
        )
    return scaled


def group(role: str, most: int, gpus: int = 1) -> dict[str, Any]:
    """A group of up to `most` nodes of one CPU each."""
    size = {"cpu": 1, "gpus": gpus, "min_replicas": 0, "max_replicas": most}
    return size | {"name": role, "role": role, "idle_timeout_s": 3}
