"""Changes to roll out, each of the profile that Serve then brings about.

Knows no load.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cluster.profile import application
from cluster.stages import MODEL_STAGES
from loadtest.local_cluster import LocalCluster
from loadtest.production.cluster import SIZE_LABEL


@dataclass(frozen=True, slots=True)
class Change:
    """`make` returns when the new version serves; the old one may not have ended yet."""

    name: str
    make: Callable[[LocalCluster], None]


def _new_plan(cluster: LocalCluster) -> None:
    [router] = [
        one for one in application(cluster.profile)["deployments"] if one["name"] == "Router"
    ]
    plans = router["user_config"]["plans"]
    plans["default"]["requests_per_min"] += 1
    plans[f"plan-{len(plans)}"] = {"requests_per_min": 60}
    cluster.up()


def _new_revision(cluster: LocalCluster) -> None:
    """Name another revision of both models: to Routers and replicas these are other models."""
    for names in MODEL_STAGES.values():
        engine = application(cluster.profile)["args"][names.field]["engine"]
        engine["revision"] = f"{engine.get('revision') or 'r'}1"
    cluster.up()


def _larger_nodes(cluster: LocalCluster) -> None:
    """Move the models to nodes of another group, which Ray's autoscaler then has to start."""
    deployments = {names.deployment for names in MODEL_STAGES.values()}
    for deployment in application(cluster.profile)["deployments"]:
        if deployment["name"] in deployments:
            options = deployment["ray_actor_options"]
            selector = options["label_selector"] | {SIZE_LABEL: "large"}
            deployment["ray_actor_options"] = options | {"num_cpus": 4, "label_selector": selector}
    cluster.up()


ALL = (
    Change("a new version of everything", LocalCluster.new_version),
    Change("a new plan", _new_plan),
    Change("a new revision of both models", _new_revision),
    Change("larger nodes for both models", _larger_nodes),
)
