"""The pods: their environment, secrets, security, machines, logs, and time to end."""

import pytest

from cluster.environment import SERVE_ENVIRONMENT, packing_environment
from cluster.kubernetes import drain, logs
from cluster.profile import application
from deployments.web.schemas import MAX_DEADLINE_MS
from tests.k8s.tools import (
    ROOT,
    Helm,
    Object,
    containers,
    environment_of,
    of_kind,
    pods,
    ray_pods,
    ray_service,
    serve_config,
    with_group,
)

# KubeRay sets it, and the token, from authOptions.
_KUBERAYS = {"RAY_AUTH_MODE"}


@pytest.mark.parametrize("packed", [True, False])
def test_every_ray_pod_has_the_environment_of_a_local_cluster(helm: Helm, packed: bool) -> None:
    shared = SERVE_ENVIRONMENT | packing_environment(packed)
    for name, pod in ray_pods(helm.template({"packed": packed})).items():
        environment = environment_of(pod)
        expected = {key: value for key, value in shared.items() if key not in _KUBERAYS}
        assert {key: environment.get(key) for key in expected} == expected, name
        # And nothing of Ray's beside it but what is a pod's own.
        others = {key for key in environment if key.startswith("RAY_")} - set(expected)
        assert others == {
            "RAY_SERVE_HAPROXY_BINARY_PATH",
            "RAY_SERVE_HAPROXY_MAXCONN",
            "RAY_ROTATION_MAX_BYTES",
            "RAY_ROTATION_BACKUP_COUNT",
        }, name


def test_rays_token_is_asked_for_and_its_state_is_in_redis(helm: Helm) -> None:
    cluster = ray_service(helm.template())["spec"]["rayClusterConfig"]
    assert cluster["authOptions"] == {"mode": "token", "secretName": "winnow-ray-token"}
    assert cluster["gcsFaultToleranceOptions"] == {
        "redisAddress": "redis:6379",
        "redisPassword": {
            "valueFrom": {"secretKeyRef": {"name": "winnow-control", "key": "redis_password"}}
        },
    }
    without = helm.template({"redis.address": ""})
    assert "gcsFaultToleranceOptions" not in ray_service(without)["spec"]["rayClusterConfig"]
    control = application(serve_config(without))["args"]["router"]["control"]
    assert "redis_url_file" not in control


def _secrets(pod: Object) -> dict[str, set[str]]:
    """The keys of secrets that a pod mounts, by secret."""
    return {
        volume["secret"]["secretName"]: {item["key"] for item in volume["secret"]["items"]}
        for volume in pod["spec"]["volumes"]
        if "secret" in volume
    }


def test_each_pod_has_its_own_secrets_alone(objects: list[Object]) -> None:
    [job] = of_kind(objects, "Job")
    found = {name: _secrets(pod) for name, pod in pods(objects).items()}
    assert found == {
        "head": {},
        "router": {
            "winnow-keys": {"keys.json"},
            "winnow-control": {"database_url", "redis_url"},
        },
        "gpu": {},
        job["metadata"]["name"]: {"winnow-hub": {"token"}},
        "winnow-smoke": {"winnow-smoke": {"api_key"}},
    }


def test_with_qdrant_only_the_router_has_the_database_and_the_index_the_key(helm: Helm) -> None:
    groups = [
        {"name": "router", "role": "router", "cpu": 8, "memory": "1Gi"},
        {"name": "index", "role": "index", "cpu": 8, "memory": "1Gi"},
        {"name": "gpu", "role": "gpu", "cpu": 8, "memory": "1Gi", "gpus": 1},
    ]
    values = {
        "groups": [group | {"minReplicas": 1, "maxReplicas": 1} for group in groups],
        "serve.deployments": {"Index": {"ray_actor_options": {"label_selector": _role("index")}}},
        "store": {"engine": "qdrant", "qdrant": {"url": "http://qdrant:6333"}},
        "secrets.qdrant": "winnow-qdrant",
    }
    objects = helm.template(values)
    index = application(serve_config(objects))["args"]["index"]
    key_file = "/etc/winnow/qdrant/api_key"
    assert index == {"engine": "qdrant", "url": "http://qdrant:6333", "api_key_file": key_file}
    found = {name: set(_secrets(pod)) for name, pod in ray_pods(objects).items()}
    assert found == {
        "head": set(),
        "router": {"winnow-keys", "winnow-control"},
        "index": {"winnow-qdrant"},
        "gpu": set(),
    }


def _role(name: str) -> dict[str, str]:
    return {"winnow/role": name}


@pytest.mark.parametrize("size", [None, "one-gpu", "small", "large"])
def test_every_container_keeps_to_the_restricted_standard(helm: Helm, size: str | None) -> None:
    rendered = helm.template(size=size)
    for name, pod in pods(rendered).items():
        of_pod = pod["spec"]["securityContext"]
        assert of_pod["runAsNonRoot"] is True, name
        assert of_pod["runAsUser"] > 0, name
        assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not any("hostPath" in volume for volume in pod["spec"]["volumes"]), name
        for container in containers(pod):
            _check_restricted(container["securityContext"])
            assert container["resources"]["limits"], container["name"]
    # KubeRay makes a container of its own for the autoscaler.
    options = ray_service(rendered)["spec"]["rayClusterConfig"]["autoscalerOptions"]
    _check_restricted(options["securityContext"])


def _check_restricted(context: Object) -> None:
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["readOnlyRootFilesystem"] is True


def test_only_the_head_may_ask_kubernetes(objects: list[Object]) -> None:
    for name, pod in pods(objects).items():
        mounts = pod["spec"].get("automountServiceAccountToken", True)
        assert mounts == (name == "head"), name


def test_a_pod_that_is_evicted_has_the_time_that_it_needs(objects: list[Object]) -> None:
    app = application(serve_config(objects))
    longest_s = max(one["graceful_shutdown_timeout_s"] for one in app["deployments"])
    start_up_s = max(
        rules["start_up_s"]
        for rules in app["autoscaling_policy"]["policy_kwargs"]["stages"].values()
    )
    deadline_s = MAX_DEADLINE_MS / 1000
    for name, pod in ray_pods(objects).items():
        if name == "head":
            continue  # no replica and no request is there
        grace_s = pod["spec"]["terminationGracePeriodSeconds"]
        [container] = pod["spec"]["containers"]
        program, _, requests_s, _, within_s = container["lifecycle"]["preStop"]["exec"]["command"]
        assert program == drain.PROGRAM
        assert float(requests_s) >= deadline_s
        assert float(within_s) >= deadline_s + start_up_s + longest_s
        assert grace_s > float(within_s)
    deletion_s = ray_service(objects)["spec"]["rayClusterDeletionDelaySeconds"]
    assert deletion_s > deadline_s


def test_a_spot_pod_ends_within_its_notice(helm: Helm) -> None:
    spot = ray_pods(helm.template(with_group(1, spot=True)))["gpu"]["spec"]
    command = spot["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert float(command[-1]) == 90
    assert spot["terminationGracePeriodSeconds"] == 110


def test_a_group_has_its_kind_of_machine(helm: Helm) -> None:
    taint = {"key": "team", "operator": "Equal", "value": "search", "effect": "NoSchedule"}
    changes: Object = {
        "labels": {"winnow/gpu": "h100"},
        "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
        "tolerations": [taint],
        "affinity": {"nodeAffinity": {}},
        "spot": True,
    }
    values = with_group(1, **changes) | {"spot.nodeSelector": {"capacity": "spot"}}
    service = ray_service(helm.template(values))
    router, gpu = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert gpu["labels"] == {"winnow/role": "gpu", "winnow/gpu": "h100"}
    spec = gpu["template"]["spec"]
    product = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert spec["nodeSelector"] == product | {"capacity": "spot"}
    assert taint in spec["tolerations"]
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec[
        "tolerations"
    ]
    assert spec["affinity"] == {"nodeAffinity": {}}
    assert "tolerations" not in router["template"]["spec"]
    spread = {one["topologyKey"] for one in spec["topologySpreadConstraints"]}
    assert spread == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}


def test_one_pod_of_a_group_at_a_time_is_evicted(helm: Helm) -> None:
    budgets = of_kind(helm.template(with_group(1, minReplicas=1)), "PodDisruptionBudget")
    assert {one["metadata"]["name"]: one["spec"]["minAvailable"] for one in budgets} == {
        "winnow-router": 1  # one of two pods; a group of one could never leave its node
    }


def test_logs_go_to_standard_output(objects: list[Object]) -> None:
    for name, pod in ray_pods(objects).items():
        [sidecar] = [one for one in pod["spec"]["initContainers"] if one["name"] == "logs"]
        assert sidecar["restartPolicy"] == "Always", "or the pod would wait for its end"
        program, directory = sidecar["command"]
        assert program == logs.PROGRAM
        [read] = sidecar["volumeMounts"]
        [container] = pod["spec"]["containers"]
        assert read["mountPath"] == directory
        assert {"name": read["name"], "mountPath": directory} in container["volumeMounts"]
        default = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"]
        assert default == "logs", name


def test_programs_of_pods_are_of_the_package() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    for program in (drain.PROGRAM, logs.PROGRAM, "winnow-haproxy", "winnow"):
        assert f"\n{program} = " in project
