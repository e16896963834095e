"""Check that each replica gets the GPUs its engine needs, on nodes that exist.

An engine over several GPUs runs its workers on its replica's node, and the replica asks Ray for all
of them (`num_gpus`); no placement group is involved. Engines that share a GPU keep to their share
of its memory. Ray checks neither: it only counts GPUs. Knows no running cluster.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.node_groups import WorkerGroup
from deployments.engine.base import EngineConfig, cores

# Ray's label selectors with operators, !a, in(a, b), !in(a, b), are left to Ray.
_OPERATORS = ("!", "in(")
# Labels that Ray gives to every node by itself.
_RAYS_LABELS = "ray.io/"


class PlacementError(Exception):
    """A replica cannot run where the profile puts it; names the deployment and what to change."""


def check_engine(deployment: Mapping[str, Any], engine: EngineConfig) -> None:
    """Raise PlacementError unless the engine fits the GPUs of its deployment's replicas."""
    name, size = deployment["name"], engine.tensor_parallel_size
    gpus = float(deployment.get("ray_actor_options", {}).get("num_gpus", 0))
    if deployment.get("placement_group_bundles"):
        raise PlacementError(
            f"{name}: an engine's workers are processes of its replica, not actors of a placement"
            " group: give the replica its GPUs with num_gpus"
        )
    if size > 1 and engine.process != "separate":
        raise PlacementError(
            f"{name}: tensor_parallel_size is {size}: an engine over several GPUs needs"
            " 'process: separate'"
        )
    if size != max(gpus, 1):
        raise PlacementError(
            f"{name}: tensor_parallel_size is {size} and num_gpus {gpus:g}: make them equal, or"
            " tensor_parallel_size 1 on a share of a GPU or on none"
        )
    if 0 < gpus < 1 and engine.gpu_memory_utilization > gpus:
        raise PlacementError(
            f"{name}: gpu_memory_utilization is {engine.gpu_memory_utilization:g} and its share of"
            f" the GPU {gpus:g} (num_gpus): it may be no more than that"
        )
    if gpus and (gpus < 1 or engine.engines() > 1) and engine.kv_cache_memory_bytes is None:
        raise PlacementError(
            f"{name}: engines that share a GPU need kv_cache_memory_bytes, or each would measure a"
            " GPU that the others are filling"
        )


def check_fits(deployments: Sequence[Mapping[str, Any]], groups: Sequence[WorkerGroup]) -> None:
    """Raise PlacementError if no node group can hold a replica: it would wait for ever."""
    for deployment in deployments:
        options = deployment.get("ray_actor_options", {})
        if not any(_takes(group, options) for group in groups):
            raise PlacementError(
                f"{deployment['name']}: no node group has what its ray_actor_options ask for:"
                f" {options}"
            )


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as Ray counts it: CPUs, and GPUs, None where their number is not known."""

    cpus: int
    gpus: int | None


def this_machine(devices: Path = Path("/dev")) -> Machine:
    """Return an upper bound of what Ray will count here, by the files of `devices`."""
    unknown = any((devices / name).exists() for name in ("dxg", "kfd"))  # of WSL, and of AMD
    gpus = len(list(devices.glob("nvidia[0-9]*")))
    return Machine(cores(), None if unknown and not gpus else gpus)


def check_fits_machine(deployments: Sequence[Mapping[str, Any]], machine: Machine) -> None:
    """Raise PlacementError if a machine alone cannot hold the least replicas of all deployments:
    some would wait for ever."""
    for resource, least, there in (
        ("num_cpus", 1.0, machine.cpus),
        ("num_gpus", 0.0, machine.gpus),
    ):
        asked = {
            one["name"]: _replicas(one) * float(_options(one).get(resource, least))
            for one in deployments
        }
        if there is not None and sum(asked.values()) > there:
            most = max(asked, key=lambda name: asked[name])
            raise PlacementError(
                f"{most}: ray_actor_options.{resource}: all replicas ask for"
                f" {sum(asked.values()):g} in all, {most} for {asked[most]:g}, and this machine has"
                f" {there}: ask for less"
            )
    for one in deployments:
        _check_no_labels(one)


def _check_no_labels(deployment: Mapping[str, Any]) -> None:
    options = _options(deployment)
    selector = {
        label: value
        for label, value in (options.get("label_selector") or {}).items()
        if not label.startswith(_RAYS_LABELS) and not value.startswith(_OPERATORS)
    }
    if selector:
        raise PlacementError(
            f"{deployment['name']}: ray_actor_options.label_selector: this machine has no labels,"
            f" not {selector}: remove it, or give the nodes with --nodes"
        )
    if resources := options.get("resources"):
        raise PlacementError(
            f"{deployment['name']}: ray_actor_options.resources: this machine has none of"
            f" {resources}: remove them"
        )


def _replicas(deployment: Mapping[str, Any]) -> int:
    scaling = deployment.get("autoscaling_config") or {}
    wanted = scaling.get("initial_replicas") or scaling.get("min_replicas", 1)
    fixed = deployment.get("num_replicas")
    return int(fixed) if isinstance(fixed, int) else int(wanted)


def _options(deployment: Mapping[str, Any]) -> Mapping[str, Any]:
    options: Mapping[str, Any] = deployment.get("ray_actor_options") or {}
    return options


def _takes(group: WorkerGroup, options: Mapping[str, Any]) -> bool:
    labels = group.ray_labels()
    return (
        options.get("num_cpus", 1) <= group.cpu
        and options.get("num_gpus", 0) <= group.gpus
        and all(
            labels.get(label) == value
            for label, value in options.get("label_selector", {}).items()
            if not value.startswith(_OPERATORS)
        )
    )
