"""The pods: their environment, secrets, security, disks, and the time that they have to end."""

from pathlib import Path
from typing import Any

import pytest

from cluster.environment import SERVE_ENVIRONMENT, packing_environment
from cluster.kubernetes import drain, logs
from cluster.profile import application
from deployments.config import EmbedCacheConfig
from deployments.web.schemas import MAX_DEADLINE_MS
from tests.k8s.tools import (
    ROOT,
    Helm,
    Object,
    containers,
    of_kind,
    pods,
    ray_service,
    serve_config,
    with_group,
)

# KubeRay sets it, and the token, from authOptions.
_KUBERAYS = {"RAY_AUTH_MODE"}


@pytest.fixture(scope="session")
def objects(helm: Helm) -> list[Object]:
    return helm.template({"secrets.smoke": "winnow-smoke", "secrets.hub": "winnow-hub"})


def _of_ray(objects: list[Object]) -> dict[str, Object]:
    cluster = ray_service(objects)["spec"]["rayClusterConfig"]
    groups = cluster["workerGroupSpecs"]
    return {"head": cluster["headGroupSpec"]["template"]} | {
        group["groupName"]: group["template"] for group in groups
    }


def _environment(pod: Object) -> dict[str, str]:
    return {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}


@pytest.mark.parametrize("packed", [True, False])
def test_every_ray_pod_has_the_environment_of_a_local_cluster(helm: Helm, packed: bool) -> None:
    shared = SERVE_ENVIRONMENT | packing_environment(packed)
    for name, pod in _of_ray(helm.template({"packed": packed})).items():
        environment = _environment(pod)
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
    found = {name: set(_secrets(pod)) for name, pod in _of_ray(objects).items()}
    assert found == {
        "head": set(),
        "router": {"winnow-keys", "winnow-control"},
        "index": {"winnow-qdrant"},
        "gpu": set(),
    }


def _role(name: str) -> dict[str, str]:
    return {"winnow/role": name}


def test_files_that_the_profile_names_are_mounted_where_it_is_read(objects: list[Object]) -> None:
    args = application(serve_config(objects))["args"]
    control = args["router"]["control"]
    named = [args["router"]["keys_file"], control["database_url_file"], control["redis_url_file"]]
    [container] = _of_ray(objects)["router"]["spec"]["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in _of_ray(objects)["router"]["spec"]["volumes"]}
    for file in map(Path, (*named, args["index"]["database_url_file"])):
        items = volumes[mounts[str(file.parent)]]["secret"]["items"]
        assert file.name in {item["path"] for item in items}
    journals = volumes[mounts[control["directory"]]]
    assert journals["persistentVolumeClaim"]["claimName"] == "winnow-journals"


def _written(objects: list[Object]) -> set[str]:
    """Paths that processes of a pod make: those of the profile, and their home."""
    args = application(serve_config(objects))["args"]
    router = args["router"]
    cache = router.get("embed_cache", {}).get("directory", EmbedCacheConfig().directory)
    named = {router["control"]["directory"], cache, args["index"].get("directory", "/tmp")}
    return named | {_environment(pod)["HOME"] for pod in _of_ray(objects).values()}


@pytest.mark.parametrize("size", [None, "one-gpu", "small", "large"])
def test_a_path_that_is_written_is_not_below_what_the_runtime_makes(
    helm: Helm, size: str | None
) -> None:
    """A mount's parents inside another volume are made by the runtime, as root, for root alone."""
    rendered = helm.template(size=size)
    for name, pod in _of_ray(rendered).items():
        mounts = pod["spec"]["containers"][0]["volumeMounts"]
        mounted = {Path(one["mountPath"]) for one in mounts if not one.get("readOnly")}
        above = {parent for one in mounted for parent in one.parents}
        for path in map(Path, _written(rendered)):
            volume = next((one for one in (path, *path.parents) if one in mounted), None)
            assert volume is not None, (
                f"{name}: {path} is on a root file system, which is read-only"
            )
            between = {one for one in path.parents if volume in one.parents}
            assert not between & above, f"{name}: {path}"


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


def test_the_object_store_fits_into_shared_memory(objects: list[Object]) -> None:
    cluster = ray_service(objects)["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        volumes = group["template"]["spec"]["volumes"]
        [shm] = [volume["emptyDir"] for volume in volumes if volume["name"] == "shm"]
        assert shm["medium"] == "Memory"
        assert int(group["rayStartParams"]["object-store-memory"]) < int(shm["sizeLimit"])


def test_models_are_on_their_volume_before_an_engine_starts(objects: list[Object]) -> None:
    """The job leaves a file that is named by the models and their commits; pods wait for it."""
    [job] = of_kind(objects, "Job")
    [fetch] = job["spec"]["template"]["spec"]["containers"]
    [*_, file] = fetch["args"][0].split()
    assert file.endswith(".complete")
    for name, pod in _of_ray(objects).items():
        waiting = [one for one in pod["spec"]["initContainers"] if one["name"] == "wait-for-models"]
        assert bool(waiting) == (name != "head")
        for one in waiting:
            assert file in one["args"][0]
        assert _environment(pod)["HF_HUB_OFFLINE"] == "1"
    assert _environment({"spec": {"containers": [{"env": fetch["env"][:2]}]}}).items() >= {
        ("HF_HUB_CACHE", _environment(_of_ray(objects)["gpu"])["HF_HUB_CACHE"])
    }


def test_models_that_are_there_are_not_fetched(helm: Helm) -> None:
    for claim in ("", "mine"):
        rendered = helm.template({"weights.fetch": False, "weights.claim": claim})
        assert not of_kind(rendered, "Job")
        spec = _of_ray(rendered)["gpu"]["spec"]
        assert "wait-for-models" not in {one["name"] for one in spec["initContainers"]}
        claims = [one for one in spec["volumes"] if "persistentVolumeClaim" in one]
        assert len(claims) == bool(claim), "without a claim they are in the image"


@pytest.mark.parametrize(
    ("values", "other_models"),
    [
        ({"serve.args": {"reranker": {"engine": {"revision": "a" * 40}}}}, True),
        ({"image.tag": "0.2.0"}, False),
        ({"weights.env": {"HF_ENDPOINT": "https://hub.example.com"}}, False),
        ({"weights.tolerations": [{"operator": "Exists"}]}, False),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_job_with_another_pod_is_another_job(
    helm: Helm, values: Object, other_models: bool
) -> None:
    """Kubernetes refuses to change a job's pod. What marks models that are there stays."""
    [job] = of_kind(helm.template(), "Job")
    [same] = of_kind(helm.template({"serve.scaling": {"Reranker": {"objective_s": 2}}}), "Job")
    assert same == job
    [other] = of_kind(helm.template(values), "Job")
    assert other["spec"]["template"] != job["spec"]["template"]
    assert other["metadata"]["name"] != job["metadata"]["name"]
    commands = [one["spec"]["template"]["spec"]["containers"][0]["args"] for one in (job, other)]
    assert (commands[0] != commands[1]) == other_models


def test_the_job_runs_where_it_is_told_with_what_it_is_told(helm: Helm) -> None:
    taint = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    values: Object = {
        "weights.env": {"HTTPS_PROXY": "http://proxy:3128"},
        "weights.nodeSelector": {"kubernetes.io/hostname": "one"},
        "weights.tolerations": [taint],
    }
    [job] = of_kind(helm.template(values), "Job")
    spec = job["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/hostname": "one"}
    assert spec["tolerations"] == [taint]
    assert _environment({"spec": spec})["HTTPS_PROXY"] == "http://proxy:3128"


def test_a_pod_that_is_evicted_has_the_time_that_it_needs(objects: list[Object]) -> None:
    app = application(serve_config(objects))
    longest_s = max(one["graceful_shutdown_timeout_s"] for one in app["deployments"])
    start_up_s = max(
        rules["start_up_s"]
        for rules in app["autoscaling_policy"]["policy_kwargs"]["stages"].values()
    )
    deadline_s = MAX_DEADLINE_MS / 1000
    for name, pod in _of_ray(objects).items():
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
    spot = _of_ray(helm.template(with_group(1, spot=True)))["gpu"]["spec"]
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
        "winnow-router": 1  # of two; a group of one could never leave its node
    }


def test_logs_go_to_standard_output(objects: list[Object]) -> None:
    for name, pod in _of_ray(objects).items():
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


def test_log_files_are_bounded(helm: Helm) -> None:
    for name, pod in _of_ray(helm.template({"logs.size": "3Gi"})).items():
        environment = _environment(pod)
        files = 1 + int(environment["RAY_ROTATION_BACKUP_COUNT"])
        of_process = files * int(environment["RAY_ROTATION_MAX_BYTES"])
        assert of_process < 2**30, "three processes at least have room"
        [volume] = [one for one in pod["spec"]["volumes"] if one["name"] == "ray-logs"]
        assert volume["emptyDir"] == {"sizeLimit": "3Gi"}, name


def test_programs_of_pods_are_of_the_package() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    for program in (drain.PROGRAM, logs.PROGRAM, "winnow-haproxy", "winnow"):
        assert f"\n{program} = " in project


def test_usage_may_stay_on_the_pods_own_disk(helm: Helm) -> None:
    rendered = helm.template({"journals.persistent": False})
    [claim] = of_kind(rendered, "PersistentVolumeClaim")
    assert claim["metadata"]["name"] == "winnow-weights"
    volumes: list[Any] = _of_ray(rendered)["router"]["spec"]["volumes"]
    [journals] = [volume for volume in volumes if volume["name"] == "journals"]
    assert journals["emptyDir"] == {"sizeLimit": "1Gi"}
