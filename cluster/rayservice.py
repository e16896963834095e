"""The Kubernetes form of a profile: a KubeRay RayService.

The profile says what runs and how many replicas; `ClusterSpec` says on what pods. Nothing of
either is written twice.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from cluster import block_yaml
from cluster.environment import pod_environment

_CONTAINER_PORTS = {"gcs": 6379, "dashboard": 8265, "client": 10001, "serve": 8000}
_SECRETS_DIRECTORY = "/etc/winnow"
# The object store lies in shared memory and leaves room for what else does; bytes, as Ray reads it.
_SHARED_MEMORY = "4Gi"
_RAY_START = {"object-store-memory": str(3 * 1024**3)}
# Longer than the slowest deployment's graceful_shutdown_timeout_s and Serve's own draining.
_TERMINATION_GRACE_S = 120


class PodSize(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: int = Field(gt=0)
    memory: str
    gpus: int = Field(default=0, ge=0)


class WorkerGroup(PodSize):
    """`role` is a Ray label that deployments select by."""

    name: str
    role: str
    min_replicas: int = Field(ge=0)
    max_replicas: int = Field(gt=0)
    idle_timeout_s: int = Field(default=120, gt=0)


class ClusterSpec(BaseModel):
    """Secrets are named and made by hand; `qdrant_secret` only where Qdrant asks for a key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    image: str
    ray_version: str
    keys_secret: str
    control_secret: str
    ray_token_secret: str
    qdrant_secret: str | None = None
    head: PodSize
    groups: tuple[WorkerGroup, ...] = Field(min_length=1)


def load_cluster_spec(path: Path) -> ClusterSpec:
    return ClusterSpec.model_validate(yaml.safe_load(path.read_text()))


def render_rayservice(profile: dict[str, Any], spec: ClusterSpec) -> dict[str, Any]:
    """The manifest, API version ray.io/v1."""
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": spec.name, "labels": {"app.kubernetes.io/name": spec.name}},
        "spec": {
            "serveConfigV2": block_yaml.dump(profile),
            # Above the longest request and the load balancer's draining.
            "rayClusterDeletionDelaySeconds": 180,
            "excludeHeadPodFromServeSvc": True,
            "rayClusterConfig": _cluster(spec),
        },
    }


def _cluster(spec: ClusterSpec) -> dict[str, Any]:
    return {
        "rayVersion": spec.ray_version,
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {"version": "v2", "idleTimeoutSeconds": 120},
        "authOptions": {"mode": "token", "secretName": spec.ray_token_secret},
        "headGroupSpec": {
            # The head carries the control plane alone.
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"} | _RAY_START,
            "template": _pod(spec, spec.head, "ray-head", _CONTAINER_PORTS),
        },
        "workerGroupSpecs": [_group(spec, group) for group in spec.groups],
    }


def _group(spec: ClusterSpec, group: WorkerGroup) -> dict[str, Any]:
    return {
        "groupName": group.name,
        "replicas": group.min_replicas,
        "minReplicas": group.min_replicas,
        "maxReplicas": group.max_replicas,
        "idleTimeoutSeconds": group.idle_timeout_s,
        "rayStartParams": _RAY_START,
        "labels": {"winnow/role": group.role},
        "template": _pod(spec, group, "ray-worker", {"serve": _CONTAINER_PORTS["serve"]}),
    }


def _pod(spec: ClusterSpec, size: PodSize, name: str, ports: dict[str, int]) -> dict[str, Any]:
    resources: dict[str, Any] = {"cpu": size.cpu, "memory": size.memory}
    if size.gpus:
        resources["nvidia.com/gpu"] = size.gpus
    secrets = {"keys": spec.keys_secret, "control": spec.control_secret}
    if spec.qdrant_secret:
        secrets["qdrant"] = spec.qdrant_secret
    container = {
        "name": name,
        "image": spec.image,
        "ports": [{"name": key, "containerPort": port} for key, port in ports.items()],
        "env": [{"name": key, "value": value} for key, value in pod_environment().items()],
        "resources": {"requests": resources, "limits": resources},
        "volumeMounts": [
            *(
                {"name": key, "mountPath": f"{_SECRETS_DIRECTORY}/{key}", "readOnly": True}
                for key in secrets
            ),
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "spec": {
            "terminationGracePeriodSeconds": _TERMINATION_GRACE_S,
            "containers": [container],
            "volumes": [
                *({"name": key, "secret": {"secretName": name}} for key, name in secrets.items()),
                {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": _SHARED_MEMORY}},
            ],
        }
    }
