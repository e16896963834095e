"""Autoscaled nodes on this machine: Ray's autoscaler starts and stops raylets.

Each node is a raylet of one of the groups that a Kubernetes cluster would have; its CPUs and GPUs
are only counted. So the autoscaler that KubeRay runs can be tried without a GPU. The node provider
comes with Ray, for Ray's own tests. Knows no Serve and no profile.
"""

from collections.abc import Sequence
from typing import Any

from cluster.node_groups import WorkerGroup

# Ray's classes and constants, written out because importing them is slow.
_PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
_HEAD_TYPE = "ray.head.default"
_HEAD_ID = "f" * 51 + "00000"
# Ray's minimum.
_OBJECT_STORE_BYTES = 80 * 1024 * 1024
# For launching nodes over SSH; unused, but the autoscaler requires them.
_UNUSED = ("cluster_synced_files", "setup_commands", "head_setup_commands", "worker_setup_commands")


def autoscaling_config(groups: Sequence[WorkerGroup], gcs_address: str) -> dict[str, Any]:
    """Return the configuration for `ray start --autoscaling-config`: a node type for each group."""
    return {name: [] for name in _UNUSED} | {
        "cluster_name": "winnow",
        "max_workers": sum(group.max_replicas for group in groups),
        "upscaling_speed": 100,
        "idle_timeout_minutes": 1,
        "provider": {
            # By its module: for the short name Ray 2.60 opens a file that it does not ship.
            "type": "external",
            "module": _PROVIDER,
            "gcs_address": gcs_address,
            "head_node_id": _HEAD_ID,
            "launch_multiple": True,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": _HEAD_TYPE,
        "available_node_types": {
            _HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            **{group.name: _node_type(group) for group in groups},
        },
    }


def _node_type(group: WorkerGroup) -> dict[str, Any]:
    resources = {"CPU": group.cpu, "object_store_memory": _OBJECT_STORE_BYTES}
    return {
        "resources": resources | ({"GPU": group.gpus} if group.gpus else {}),
        "labels": group.ray_labels(),
        "node_config": {},
        "min_workers": group.min_replicas,
        "max_workers": group.max_replicas,
        "idle_timeout_s": group.idle_timeout_s,
    }


def autoscaler_environment() -> dict[str, str]:
    """Return the head's variables: the autoscaler's version 2, as in KubeRay, run every second."""
    return {
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_CLOUD_INSTANCE_ID": _HEAD_ID,
        # Else each node starts a worker for each of its CPUs, which are only counted.
        "RAY_prestart_worker_first_driver": "0",
    }
