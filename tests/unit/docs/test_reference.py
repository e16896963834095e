"""The documentation names whatever a user can ask for: routes, fields, errors, metrics, settings,
commands."""

import ast
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import typer
from fastapi.routing import APIRoute
from pydantic import BaseModel

from cluster.__main__ import app
from cluster.config import AppConfig
from cluster.node_groups import ClusterSpec
from cluster.profile import profile_names
from deployments.autoscaling.policy import ScalingConfig
from deployments.batching.batcher import BatchLimits
from deployments.batching.search_limits import SearchLimits
from deployments.errors import WinnowError
from deployments.tenants.plans import Plans
from deployments.web.dialects.admin import KeyRequest, TenantChange
from deployments.web.schemas import SearchRequest
from tests.pages import ROOT, page, pages
from tests.unit.service import TestService

_METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE")
_OURS = ("winnow_", "vllm_")  # metrics


def test_every_route_is_named_and_no_other(service: TestService) -> None:
    """Those that the OpenAPI document leaves out too; what documents itself is no part of it."""
    served = {
        f"{method} {route.path_format}"
        for route in service.app.routes
        if isinstance(route, APIRoute) and not route.path.startswith(("/docs", "/redoc"))
        for method in route.methods
    }
    named = {
        name
        for one in pages()
        for name in one.names()
        if re.fullmatch(rf"(?:{'|'.join(_METHODS)}) /\S*", name) and "..." not in name
    }
    assert served - named == set()
    assert {name.partition("?")[0] for name in named} - served == set()


def test_every_error_code_is_in_the_table() -> None:
    table = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", page("docs/api.md").text, re.MULTILINE)
    assert {(int(status), code) for status, code in table} == {
        (error.status, error.code) for error in _tree(WinnowError)
    }


def test_every_metric_is_in_the_table() -> None:
    made = {
        node.value
        for file in (ROOT / "deployments" / "metrics").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and str(node.value).startswith(_OURS)
    }
    assert made
    rows = re.findall(r"^\| (`.*?`) \|", page("docs/observability.md").text, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert {name for name in named if name.startswith(_OURS)} == made


@pytest.mark.parametrize(
    ("model", "places"),
    [
        (AppConfig, ["docs/profiles.md"]),
        (BatchLimits, ["docs/profiles.md"]),
        (SearchLimits, ["docs/profiles.md"]),
        (Plans, ["docs/tenants.md"]),
        (ScalingConfig, ["docs/scaling.md"]),
        (ClusterSpec, ["docs/scaling.md"]),
        (SearchRequest, ["docs/api.md"]),
        (KeyRequest, ["docs/tenants.md"]),
        (TenantChange, ["docs/tenants.md"]),
    ],
)
def test_every_field_is_named(model: type[BaseModel], places: list[str]) -> None:
    words = {word for place in places for word in re.findall(r"\w+", page(place).text)}
    assert set(_fields(model)) - words == set()


def test_every_profile_is_in_the_table() -> None:
    table = re.findall(r"^\| `([\w.-]+)` \|", page("docs/profiles.md").text, re.MULTILINE)
    assert set(profile_names()) <= set(table)


def test_every_command_and_option_is_named() -> None:
    reference = page("docs/command-line.md").text
    options = reference + page("docs/planning.md").text
    for path, command in _commands(typer.main.get_command(app), "winnow"):
        assert re.search(rf"`{path}[ `]", reference), path
        for option in (one for one in command.params if one.param_type_name == "option"):
            assert any(f"`{name}`" in options for name in option.opts), f"{path} {option.opts}"


def test_every_make_target_with_a_description_is_named() -> None:
    described = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {name.removeprefix("make ").split()[0] for one in pages() for name in one.names()}
    assert set(described) - named == set()


def test_every_variable_of_the_environment_is_named() -> None:
    """But what one process of ours tells another."""
    sources = [
        path.read_text()
        for folder in ("deployments", "cluster", "loadtest", "tests")
        for path in (ROOT / folder).rglob("*.py")
    ]
    read = {name for source in sources for name in re.findall(r'"(WINNOW_[A-Z_]+)"', source)}
    named = {name for one in pages() for name in re.findall(r"WINNOW_[A-Z_]+", one.text)}
    assert read - named == {"WINNOW_CLUSTER_ID"}


def _tree(error: type[WinnowError]) -> Iterator[type[WinnowError]]:
    yield error
    for child in error.__subclasses__():
        yield from _tree(child)


def _fields(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for inner in _models(field.annotation):
            yield from _fields(inner)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Those in an annotation, through unions and containers."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, one in getattr(command, "commands", {}).items():
        yield from _commands(one, f"{path} {name}")
    if not hasattr(command, "commands"):
        yield path, command
