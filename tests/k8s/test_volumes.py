"""Volumes of the pods: secrets, shared memory, logs, journals, and models with their job."""

from pathlib import Path
from typing import Any

import pytest

from cluster.profile import application
from deployments.config import EmbedCacheConfig
from tests.k8s.tools import (
    Helm,
    Object,
    environment_of,
    of_kind,
    ray_pods,
    ray_service,
    serve_config,
)


def test_files_that_the_profile_names_are_mounted_where_it_is_read(objects: list[Object]) -> None:
    args = application(serve_config(objects))["args"]
    control = args["router"]["control"]
    named = [args["router"]["keys_file"], control["database_url_file"], control["redis_url_file"]]
    [container] = ray_pods(objects)["router"]["spec"]["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in ray_pods(objects)["router"]["spec"]["volumes"]}
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
    return named | {environment_of(pod)["HOME"] for pod in ray_pods(objects).values()}


@pytest.mark.parametrize("size", [None, "one-gpu", "small", "large"])
def test_a_path_that_is_written_is_not_below_what_the_runtime_makes(
    helm: Helm, size: str | None
) -> None:
    """A mount's parents inside another volume are made by the runtime, as root, for root alone."""
    rendered = helm.template(size=size)
    for name, pod in ray_pods(rendered).items():
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


def test_the_object_store_fits_into_shared_memory(objects: list[Object]) -> None:
    cluster = ray_service(objects)["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        volumes = group["template"]["spec"]["volumes"]
        [shm] = [volume["emptyDir"] for volume in volumes if volume["name"] == "shm"]
        assert shm["medium"] == "Memory"
        assert int(group["rayStartParams"]["object-store-memory"]) < int(shm["sizeLimit"])


def test_log_files_are_bounded(helm: Helm) -> None:
    for name, pod in ray_pods(helm.template({"logs.size": "3Gi"})).items():
        environment = environment_of(pod)
        files = 1 + int(environment["RAY_ROTATION_BACKUP_COUNT"])
        of_process = files * int(environment["RAY_ROTATION_MAX_BYTES"])
        assert of_process < 2**30, "three processes at least have room"
        [volume] = [one for one in pod["spec"]["volumes"] if one["name"] == "ray-logs"]
        assert volume["emptyDir"] == {"sizeLimit": "3Gi"}, name


def test_usage_may_stay_on_the_pods_own_disk(helm: Helm) -> None:
    rendered = helm.template({"journals.persistent": False})
    [claim] = of_kind(rendered, "PersistentVolumeClaim")
    assert claim["metadata"]["name"] == "winnow-weights"
    volumes: list[Any] = ray_pods(rendered)["router"]["spec"]["volumes"]
    [journals] = [volume for volume in volumes if volume["name"] == "journals"]
    assert journals["emptyDir"] == {"sizeLimit": "1Gi"}


def test_models_are_on_their_volume_before_an_engine_starts(objects: list[Object]) -> None:
    """The job leaves a file that is named by the models and their commits; pods wait for it."""
    [job] = of_kind(objects, "Job")
    [fetch] = job["spec"]["template"]["spec"]["containers"]
    [*_, file] = fetch["args"][0].split()
    assert file.endswith(".complete")
    for name, pod in ray_pods(objects).items():
        waiting = [one for one in pod["spec"]["initContainers"] if one["name"] == "wait-for-models"]
        assert bool(waiting) == (name != "head")
        for one in waiting:
            assert file in one["args"][0]
        assert environment_of(pod)["HF_HUB_OFFLINE"] == "1"
    assert environment_of({"spec": {"containers": [{"env": fetch["env"][:2]}]}}).items() >= {
        ("HF_HUB_CACHE", environment_of(ray_pods(objects)["gpu"])["HF_HUB_CACHE"])
    }


def test_models_that_are_there_are_not_fetched(helm: Helm) -> None:
    for claim in ("", "mine"):
        rendered = helm.template({"weights.fetch": False, "weights.claim": claim})
        assert not of_kind(rendered, "Job")
        spec = ray_pods(rendered)["gpu"]["spec"]
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
    assert environment_of({"spec": spec})["HTTPS_PROXY"] == "http://proxy:3128"
