"""A cluster of what the chart renders, on this machine: its groups as nodes of a local cluster, and
its Serve configuration with nothing but the overlay of `production-local` over it."""

import time
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from cluster.models.pull import default_cache, resolve
from cluster.overlay import overlaid
from cluster.profile import localise
from loadtest.production.cluster import PROFILE, ProductionCluster
from tests.k8s.tools import (
    CHART,
    Helm,
    Object,
    group_cpus,
    group_gpus,
    ray_service,
    serve_config,
)

_SIZE = "small"
# Request quota of tenants on the plan `small`.
PER_MIN = 30
_VALUES: Object = {
    # The models are there already: with another revision of them the pods stay as they are.
    "weights.fetch": False,
    "weights.claim": "models",
    "serve.deployments.Router.user_config.plans.small": {"requests_per_min": PER_MIN},
}

_PATIENCE_S = 900.0
_POLL_S = 0.5


class ChartCluster(ProductionCluster):
    """The chart's small size; `service` is the RayService that it renders."""

    def __init__(self, directory: Path, helm: Helm) -> None:
        self._helm = helm
        self.service = self._render({})
        super().__init__(directory, self._on_one_machine(), _node_groups(self.service))

    def upgrade(self, values: Object) -> None:
        """Deploy what the chart renders with further values; return when Serve runs it.

        The document goes to Serve's REST API, as KubeRay sends it. Raises RuntimeError if Serve
        does not come to run it.
        """
        self.service = self._render(values)
        self.profile = self._on_one_machine()
        self.serve().deploy(self.document())
        until = time.monotonic() + _PATIENCE_S
        while (deployed := self.deployed()).status == "DEPLOYING" and time.monotonic() < until:
            time.sleep(_POLL_S)
        if deployed.status != "RUNNING":
            raise RuntimeError(f"{deployed.status}: {'; '.join(deployed.problems())}")

    def document(self) -> Object:
        """Return what Serve is given: the profile with models, paths and a port of this machine."""
        cache, port = default_cache(), self.running.http_port
        return localise(self.profile, self.state, lambda one: resolve(one, cache, Console()), port)

    def _render(self, values: Object) -> Object:
        return ray_service(self._helm.template(_VALUES | values, _SIZE))

    def _on_one_machine(self) -> Object:
        overlay = yaml.safe_load((CHART / "profiles" / f"{PROFILE}.yaml").read_text())
        assert overlay.pop("extends") == "production"
        profile: Object = overlaid(serve_config([self.service]), overlay)
        return profile


def _node_groups(service: Object) -> list[dict[str, Any]]:
    """Return the groups of a RayService as `winnow up --nodes` takes them."""
    return [_node_group(one) for one in service["spec"]["rayClusterConfig"]["workerGroupSpecs"]]


def _node_group(group: Object) -> dict[str, Any]:
    labels = dict(group["labels"])
    return {
        "name": group["groupName"],
        "role": labels.pop("winnow/role"),
        "labels": labels,
        "cpu": group_cpus(group),
        "gpus": group_gpus(group),
        "min_replicas": group["minReplicas"],
        "max_replicas": group["maxReplicas"],
        "idle_timeout_s": group["idleTimeoutSeconds"],
    }
