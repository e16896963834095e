"""Policies of others: checkov's for Kubernetes, hadolint's for the image; and the compose file."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.profile import profile_names
from tests.k8s.operator_types import KINDS
from tests.k8s.tools import ROOT, Helm, Object, checkov, pods, script

_SETTINGS = Path(__file__).with_name("checkov.yaml")
_DIGEST = "sha256:" + "0" * 64
_UNKNOWN = {"RayService"} | KINDS


def _check(objects: list[Object], directory: Path) -> list[str]:
    """Return what checkov finds in them, and in the pods that KubeRay makes of a RayService."""
    rendered = directory / "rendered.yaml"
    of_ray = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": pod["metadata"] | {"name": name}}
        | {"spec": pod["spec"]}
        for name, pod in pods(objects).items()
    ]
    known = [one for one in objects if one["kind"] not in _UNKNOWN]
    for one in (*known, *of_ray):
        one["metadata"]["namespace"] = "winnow"
    rendered.write_text(yaml.safe_dump_all([*known, *of_ray]))
    done = subprocess.run(
        [*checkov(), "--config-file", str(_SETTINGS), "--file", str(rendered), "--output", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 300, done.stderr
    failed: list[Any] = report["results"]["failed_checks"]
    return [f"{one['check_id']} {one['check_name']}: {one['resource']}" for one in failed]


@pytest.fixture(scope="module")
def objects(helm: Helm) -> list[Object]:
    return helm.template({"image.digest": _DIGEST}, size="small")


def test_checkov_finds_no_fault(objects: list[Object], tmp_path: Path) -> None:
    assert _check(objects, tmp_path) == []


def test_checkov_finds_a_container_that_may_gain_privileges(helm: Helm, tmp_path: Path) -> None:
    objects = helm.template({"image.digest": _DIGEST}, size="small")
    [container] = pods(objects)["gpu"]["spec"]["containers"]
    container["securityContext"]["allowPrivilegeEscalation"] = True
    [found] = _check(objects, tmp_path)
    assert "Pod.winnow.gpu" in found


def test_hadolint_finds_no_fault() -> None:
    done = subprocess.run(
        [script("hadolint"), ROOT / "k8s" / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout + done.stderr == ""


def test_what_the_image_copies_is_there() -> None:
    text = (ROOT / "k8s" / "Dockerfile").read_text()
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY")]
    names = [name for line in copied for name in line if not name.startswith("/")]
    files = [name for name in names if not name.startswith("--")]
    assert files
    for name in files:
        assert (ROOT / name).exists(), name


def test_the_compose_file_starts_a_profile_and_builds_the_image() -> None:
    compose = yaml.safe_load((ROOT / "k8s" / "compose.yaml").read_text())
    service = compose["services"]["winnow"]
    build = service["build"]
    assert (ROOT / "k8s" / build["context"] / build["dockerfile"]).is_file()
    words = service["command"][-1].split()
    assert words[words.index("--profile") + 1] in profile_names()
    # As in the chart: nothing of the image is written, and no privilege is had or gained.
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["user"] == "10001:10001"
    assert {volume.partition(":")[0] for volume in service["volumes"]} == set(compose["volumes"])
