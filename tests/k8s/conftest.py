"""Helm, the chart's objects, and KubeRay's own schema where it is here."""

import os
from typing import Any

import pytest
import yaml

from tests.k8s.tools import ROOT, Helm, Object, helm_or_skip

_CRDS = "WINNOW_CRDS"
_RAY_SERVICE = "ray.io_rayservices.v1.7.0.yaml"


@pytest.fixture(scope="session")
def helm() -> Helm:
    return helm_or_skip()


@pytest.fixture(scope="session")
def objects(helm: Helm) -> list[Object]:
    """Objects of the chart with a test pod and with a job that has a token of the Hub."""
    return helm.template({"secrets.smoke": "winnow-smoke", "secrets.hub": "winnow-hub"})


@pytest.fixture(scope="session")
def ray_service_schema() -> Any:
    folder = os.environ.get(_CRDS, ROOT.parent / "shared" / "crds")
    file = os.path.join(folder, _RAY_SERVICE)
    if not os.path.exists(file):
        pytest.skip(f"KubeRay's CRD {_RAY_SERVICE} is not here: set {_CRDS} to its folder")
    with open(file) as text:
        crd = yaml.load(text, yaml.CSafeLoader)
    [version] = [one for one in crd["spec"]["versions"] if one["name"] == "v1"]
    return _strict(version["schema"]["openAPIV3Schema"])


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
