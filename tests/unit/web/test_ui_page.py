"""The files of the page at /ui as they are served: with what headers, to whom, and no others."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from deployments.web.app import build_http_app
from deployments.web.ui_page import add_ui
from tests.unit.service import TestService


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(redirect_slashes=False)
    add_ui(app)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://winnow") as client:
        yield client


async def test_the_application_serves_it_without_a_key(service: TestService) -> None:
    answer = await service.send("GET", "/ui/", headers={"authorization": ""})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    there = await service.send("GET", "/ui")
    assert there.is_redirect
    assert there.headers["location"] == "ui/", "relative: a proxy may have added a prefix"
    missing = await service.send("GET", "/ui/none.js")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    paths = (await service.send("GET", "/openapi.json")).json()["paths"]
    assert not [path for path in paths if path.startswith("/ui")]


async def test_nothing_but_files_of_this_origin_may_run(client: httpx.AsyncClient) -> None:
    for name in ("", "main.js", "base.css", "icon.svg"):
        headers = (await client.get(f"/ui/{name}")).headers
        policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
        assert policy.pop("default-src") == "'none'"
        assert policy.pop("frame-ancestors") == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert {policy[rule] for rule in ("script-src", "style-src", "connect-src")} == {"'self'"}
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


async def test_a_file_that_is_known_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/ui/main.js")
    again = await client.get("/ui/main.js", headers={"if-none-match": first.headers["etag"]})
    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert "content-security-policy" in again.headers


async def test_nothing_outside_of_its_folder_is_served(client: httpx.AsyncClient) -> None:
    for path in ("../app.py", "..%2fapp.py", "%2e%2e/app.py", "....//app.py", "/etc/passwd"):
        assert (await client.get(f"/ui/{path}")).status_code == 404, path


def test_no_markup_is_made_of_text() -> None:
    """By the sources: none has a way to, nor a script or style in the document."""
    folder = Path(__file__).parents[3] / "deployments" / "web" / "ui"
    sources = {path.name: path.read_text() for path in folder.iterdir()}
    ways = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=")
    for name, source in sources.items():
        assert not [way for way in ways if way in source], name
        assert name.endswith(".svg") or "http://" not in source.replace("http://www.w3.org/", "")


def test_it_can_be_turned_off(service: TestService) -> None:
    paths = {getattr(route, "path", "") for route in service.app.routes}
    with_neither = build_http_app(service.parts, ui=False, admin=False)
    left = {getattr(route, "path", "") for route in with_neither.routes}
    assert {path for path in paths - left if not path.startswith("/v1/admin/")} == {"/ui"}
    assert "/v1/admin/keys" in paths - left
    assert not [path for path in with_neither.openapi()["paths"] if "admin" in path]
    assert left <= paths
