"""The cluster that is watched: a head, and for each model stage nodes with a GPU (that is only
counted), which Ray's own autoscaler adds and removes on this machine.

Started by the command line that users have, looked at through Ray's and Serve's REST interfaces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.local.nodes_api import NodesApi
from cluster.local.ports import free_ports
from cluster.local.serve_api import ServeApi
from cluster.local.state import RunningCluster, State
from cluster.profile import application
from loadtest.command_line import winnow
from loadtest.scaled import STAGES, Stage, scaled_profile

MOST = 3

_K8S = Path(__file__).parents[2] / "k8s" / "cluster.yaml"


@dataclass(frozen=True, slots=True)
class Size:
    """Of one stage: its nodes, and its running replicas that are on them; replicas asked for."""

    nodes: int
    replicas: int
    asked: int


class Stand:
    """`directory` holds the cluster's state, its profile and its node groups: one a stage, and
    `others`."""

    def __init__(self, directory: Path, others: Sequence[dict[str, Any]] = ()) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.state = State(directory)
        self._groups = [*(group(stage, MOST) for stage in STAGES), *others]

    def up(self, profile: Mapping[str, Any]) -> None:
        """Start it, or bring it to another profile; returns when all is ready."""
        path = self.state.directory / "profile.yaml"
        path.write_text(yaml.safe_dump(dict(profile)))
        arguments = ["up", "--profile", str(path)]
        if self.state.running() is None:
            spec = yaml.safe_load(_K8S.read_text()) | {"groups": self._groups}
            nodes = self.state.directory / "nodes.yaml"
            nodes.write_text(yaml.safe_dump(spec))
            arguments += ["--port", str(free_ports(1)[0]), "--nodes", str(nodes)]
        winnow(self.state.directory, *arguments, quiet=True)

    def down(self) -> None:
        winnow(self.state.directory, "down", quiet=True)

    @property
    def running(self) -> RunningCluster:
        running = self.state.running()
        assert running is not None
        return running

    def serve(self) -> ServeApi:
        return ServeApi(self.running.dashboard_port, self.state.ray_token())

    def nodes(self) -> NodesApi:
        return NodesApi(self.running.dashboard_port, self.state.ray_token())

    def look(self) -> dict[Stage, Size]:
        deployments = {one.name: one for one in self.serve().application("winnow").deployments}
        nodes = self.nodes().alive()
        sizes: dict[Stage, Size] = {}
        for stage, name in STAGES.items():
            mine = {node.id for node in nodes if node.role == stage}
            deployment = deployments[name]
            at_home = sum(node in mine for node in deployment.nodes)
            sizes[stage] = Size(len(mine), at_home, deployment.wanted)
        return sizes


def profile() -> dict[str, Any]:
    """A replica takes a node of its stage's; Router and Index stay on the head."""
    scaled = scaled_profile(MOST)
    stage_of = {name: stage for stage, name in STAGES.items()}
    for deployment in application(scaled)["deployments"]:
        stage = stage_of.get(deployment["name"])
        deployment["ray_actor_options"] = (
            {"num_cpus": 1, "num_gpus": 1, "label_selector": {"winnow/role": stage}}
            if stage
            else {"num_cpus": 0, "label_selector": {"winnow/role": "head"}}
        )
    return scaled


def group(role: str, most: int, gpus: int = 1) -> dict[str, Any]:
    """Of up to `most` small nodes, as k8s/cluster.yaml would have it."""
    size = {"cpu": 1, "memory": "1Gi", "gpus": gpus, "min_replicas": 0, "max_replicas": most}
    return size | {"name": role, "role": role, "idle_timeout_s": 3}
