"""A profile as a KubeRay RayService.

The profile says what runs and how many replicas; `ClusterSpec` says on which pods. Knows no
Kubernetes cluster: it only makes the manifest.
"""

from typing import Any

from cluster.kubernetes import block_yaml
from cluster.kubernetes.environment import pod_environment
from cluster.node_groups import ClusterSpec, PodSize, Redis, WorkerGroup

_CONTAINER_PORTS = {"gcs": 6379, "dashboard": 8265, "client": 10001, "serve": 8000}
_SECRETS_DIRECTORY = "/etc/winnow"
# Ray's object store takes part of the shared memory and leaves the rest to others; bytes.
_SHARED_MEMORY = "4Gi"
_RAY_START = {"object-store-memory": str(3 * 1024**3)}
# Above the largest graceful_shutdown_timeout_s and Serve's own draining.
_TERMINATION_GRACE_S = 180


def render_rayservice(profile: dict[str, Any], spec: ClusterSpec) -> dict[str, Any]:
    """Return the manifest, API version ray.io/v1."""
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
    fault_tolerance = (
        {"gcsFaultToleranceOptions": _fault_tolerance(spec.gcs_redis)} if spec.gcs_redis else {}
    )
    return fault_tolerance | {
        "rayVersion": spec.ray_version,
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {"version": "v2", "idleTimeoutSeconds": 120},
        "authOptions": {"mode": "token", "secretName": spec.ray_token_secret},
        "headGroupSpec": {
            # The head runs the control plane alone.
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"} | _RAY_START,
            "template": _pod(spec, spec.head, "ray-head", _CONTAINER_PORTS),
        },
        "workerGroupSpecs": [_group(spec, group) for group in spec.groups],
    }


def _fault_tolerance(redis: Redis) -> dict[str, Any]:
    options: dict[str, Any] = {"redisAddress": redis.address}
    if redis.password_secret:
        reference = {"name": redis.password_secret, "key": "redis_password"}
        options["redisPassword"] = {"valueFrom": {"secretKeyRef": reference}}
    return options


def _group(spec: ClusterSpec, group: WorkerGroup) -> dict[str, Any]:
    return {
        "groupName": group.name,
        "replicas": group.min_replicas,
        "minReplicas": group.min_replicas,
        "maxReplicas": group.max_replicas,
        "idleTimeoutSeconds": group.idle_timeout_s,
        "rayStartParams": _RAY_START,
        "labels": group.ray_labels(),
        "template": _worker(spec, group),
    }


def _worker(spec: ClusterSpec, group: WorkerGroup) -> dict[str, Any]:
    template = _pod(spec, group, "ray-worker", {"serve": _CONTAINER_PORTS["serve"]})
    if group.node_selector:
        template["spec"]["nodeSelector"] = group.node_selector
    return template


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
        "env": [
            {"name": key, "value": value} for key, value in pod_environment(spec.packed).items()
        ],
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
