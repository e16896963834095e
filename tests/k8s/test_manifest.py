"""The RayService manifest: valid against KubeRay's own schema, fresh, and in step with the app."""

import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from cluster.app import build
from cluster.commands.render import manifest
from cluster.config import AppConfig
from cluster.kubernetes.rayservice import render_rayservice
from cluster.node_groups import load_cluster_spec
from cluster.profile import application, load_profile, profile_names

_ROOT = Path(__file__).parents[2]
_RENDERED = _ROOT / "k8s" / "base" / "rayservice.yaml"
_PODS = _ROOT / "k8s" / "cluster.yaml"
_CRD = Path(os.environ.get("WINNOW_CRDS", _ROOT.parent / "shared" / "crds"))
_CRD_FILE = _CRD / "ray.io_rayservices.v1.7.0.yaml"


def _strict(schema: Any) -> Any:
    """The CRD's schema with unknown fields refused, as `kubectl --validate=strict` does."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(part) for key, part in schema.items()}
    open_ended = "additionalProperties" in strict or strict.get(
        "x-kubernetes-preserve-unknown-fields"
    )
    if isinstance(strict.get("properties"), dict) and not open_ended:
        strict["additionalProperties"] = False
    if strict.get("x-kubernetes-int-or-string"):
        strict.pop("type", None)
    return strict


@pytest.fixture(scope="module")
def schema() -> Any:
    if not _CRD_FILE.exists():
        pytest.skip(f"KubeRay's CRD {_CRD_FILE.name} is not here: set WINNOW_CRDS to its folder")
    crd = yaml.safe_load(_CRD_FILE.read_text())
    [version] = [v for v in crd["spec"]["versions"] if v["name"] == "v1"]
    return _strict(version["schema"]["openAPIV3Schema"])


def test_manifest_is_strictly_valid(schema: Any) -> None:
    jsonschema.validate(yaml.safe_load(_RENDERED.read_text()), schema)


def test_the_schema_refuses_a_misspelt_field(schema: Any) -> None:
    service = yaml.safe_load(_RENDERED.read_text())
    [container] = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"][
        "containers"
    ]
    container["imagePullPolcy"] = "Always"
    with pytest.raises(jsonschema.ValidationError, match="imagePullPolcy"):
        jsonschema.validate(service, schema)


def test_rendered_file_is_fresh() -> None:
    assert _RENDERED.read_text() == manifest("production", _PODS), "run 'winnow render' again"


def test_the_serve_config_is_the_profile_without_anchors() -> None:
    config = yaml.safe_load(_RENDERED.read_text())["spec"]["serveConfigV2"]
    assert yaml.safe_load(config) == load_profile("production")
    assert "&id" not in config


def _pods() -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Start parameters and pod of the head and of every worker group."""
    cluster = yaml.safe_load(_RENDERED.read_text())["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [(group["rayStartParams"], group["template"]["spec"]) for group in groups]


def test_the_files_that_the_profile_names_are_mounted_in_every_pod() -> None:
    args = application(load_profile("production"))["args"]
    router, control = args["router"], args["router"]["control"]
    named = [router["keys_file"], control["database_url_file"], control["redis_url_file"]]
    files = [Path(name) for name in (*named, args["index"]["database_url_file"])]
    for _, pod in _pods():
        mounts = {
            mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]
        }
        secrets = {volume["name"] for volume in pod["volumes"] if "secret" in volume}
        assert {mounts[str(file.parent)] for file in files} <= secrets


def test_a_qdrant_secret_is_mounted_where_there_is_one() -> None:
    spec = load_cluster_spec(_PODS)
    assert "qdrant" not in str(render_rayservice({}, spec)["spec"]["rayClusterConfig"])
    keyed = render_rayservice({}, spec.model_copy(update={"qdrant_secret": "winnow-qdrant"}))
    group = keyed["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    mounts = group["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "qdrant", "mountPath": "/etc/winnow/qdrant", "readOnly": True} in mounts


def test_a_node_group_has_its_labels_and_its_kind_of_machine(schema: Any) -> None:
    spec = load_cluster_spec(_PODS)
    kind = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    changes = {"labels": {"winnow/gpu": "h100"}, "node_selector": kind}
    *others, gpu = spec.groups
    groups = (*others, gpu.model_copy(update=changes))
    service = render_rayservice({}, spec.model_copy(update={"groups": groups}))
    jsonschema.validate(service, schema)
    made = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][-1]
    assert made["labels"] == {"winnow/role": gpu.role, "winnow/gpu": "h100"}
    assert made["template"]["spec"]["nodeSelector"] == kind


@pytest.mark.parametrize("packed", [True, False])
def test_every_pod_is_told_whether_replicas_are_packed(packed: bool) -> None:
    spec = load_cluster_spec(_PODS).model_copy(update={"packed": packed})
    cluster = render_rayservice({}, spec)["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        [container] = group["template"]["spec"]["containers"]
        names = {variable["name"] for variable in container["env"]}
        assert ("RAY_SERVE_USE_PACK_SCHEDULING_STRATEGY" in names) == packed


def test_rays_state_outlives_the_head_where_there_is_a_redis(schema: Any) -> None:
    spec = load_cluster_spec(_PODS)
    cluster = render_rayservice({}, spec)["spec"]["rayClusterConfig"]
    assert spec.gcs_redis is not None
    assert cluster["gcsFaultToleranceOptions"]["redisAddress"] == spec.gcs_redis.address
    for redis in (None, spec.gcs_redis.model_copy(update={"password_secret": None})):
        service = render_rayservice({}, spec.model_copy(update={"gcs_redis": redis}))
        jsonschema.validate(service, schema)
        found = service["spec"]["rayClusterConfig"].get("gcsFaultToleranceOptions", {})
        assert "redisPassword" not in found


def test_the_object_store_fits_into_shared_memory() -> None:
    for start, pod in _pods():
        [shm] = [volume["emptyDir"] for volume in pod["volumes"] if volume["name"] == "shm"]
        gibibytes = int(shm["sizeLimit"].removesuffix("Gi"))
        assert int(start["object-store-memory"]) < gibibytes * 1024**3


def _pins(lock: str) -> set[str]:
    text = (_ROOT / "requirements" / lock).read_text()
    return set(re.findall(r"^[\w.-]+==[^ ]+", text, re.MULTILINE))


def test_the_image_holds_what_is_locked_for_cuda_less_the_tools_of_tests() -> None:
    image = _pins("cuda.txt")
    assert image < _pins("cuda-dev.txt")
    assert {"vllm", "torch", "ray"} <= {pin.split("==")[0] for pin in image}
    assert not [pin for pin in image if pin.startswith(("pytest", "ruff", "locust"))]


@pytest.mark.parametrize("name", profile_names())
def test_profile_is_a_serve_config_of_this_application(name: str) -> None:
    profile = load_profile(name)
    ServeDeploySchema.model_validate(profile)
    app = application(profile)
    router = build(AppConfig.model_validate(app["args"]))
    bound = {"Router"} | {
        argument._bound_deployment.name
        for argument in router._bound_deployment.init_args
        if hasattr(argument, "_bound_deployment")
    }
    assert {deployment["name"] for deployment in app["deployments"]} == bound
