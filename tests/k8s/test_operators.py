"""Objects of the chart for operators: the Prometheus operator's, External Secrets', Gateways'."""

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.k8s.operator_types import KINDS, OperatorTypes, operator_types_or_skip
from tests.k8s.tools import CHART, Helm, Object, of_kind

_SIZES = sorted(path.stem for path in (CHART / "sizes").glob("*.yaml"))


@pytest.fixture(scope="module")
def types() -> OperatorTypes:
    return operator_types_or_skip()


@pytest.fixture(scope="module")
def objects(helm: Helm) -> list[Object]:
    rendered = [one for size in _SIZES for one in helm.template(size=size)]
    return [one for one in rendered if one["kind"] in KINDS]


def test_operators_take_what_the_chart_makes_for_them(
    types: OperatorTypes, objects: list[Object], tmp_path: Path
) -> None:
    assert {one["kind"] for one in objects} == KINDS
    assert types.faults(objects, tmp_path) == []


def test_a_misspelt_field_of_each_kind_and_a_wrong_value_are_found(
    types: OperatorTypes, objects: list[Object], tmp_path: Path
) -> None:
    monitor, rules, secret, route = (
        copy.deepcopy(of_kind(objects, kind)[0]["spec"])
        for kind in ("PodMonitor", "PrometheusRule", "ExternalSecret", "HTTPRoute")
    )
    _misspell(monitor["podMetricsEndpoints"][0], "interval")
    _misspell(rules["groups"][0]["rules"][0], "expr")
    _misspell(secret["target"], "name")
    _misspell(route["rules"][0], "timeouts")
    wrong = copy.deepcopy(of_kind(objects, "HTTPRoute")[0]["spec"])
    wrong["rules"][0]["timeouts"]["request"] = "130 seconds"
    specs = {"PodMonitor": monitor, "PrometheusRule": rules, "ExternalSecret": secret}
    made = [of_kind(objects, kind)[0] | {"spec": spec} for kind, spec in specs.items()]
    made += [of_kind(objects, "HTTPRoute")[0] | {"spec": spec} for spec in (route, wrong)]
    faults = "\n".join(types.faults(made, tmp_path))
    for field in ("intervall", "exprr", "namee", "timeoutss", "/timeouts/request"):
        assert field in faults, faults


def _misspell(part: Any, field: str) -> None:
    part[field + field[-1]] = part.pop(field)
