"""No route tells one tenant anything of another's, or changes it.

Whatever the intruder asks of the victim's collection is answered exactly as if it did not exist:
status, body and headers, but for the name. Every route that takes a key has to be in `ASKED`.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from tests.unit.service import TestService

SECRET = "the victim's secret"
VICTIMS, NOBODYS = "plans-2027", "plans-2028"
DOCUMENTS = [
    {"id": f"d{n}", "text": f"{SECRET} {n}", "metadata": {"kind": "secret", "n": n}}
    for n in range(5)
]
COLLECTION = "/v1/collections/{name}"

# (method, path): the bodies and queries that an intruder tries.
ASKED: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("GET", COLLECTION): [{}],
    ("DELETE", COLLECTION): [{"headers": {"x-confirm-delete": "{name}"}}],
    ("POST", f"{COLLECTION}/documents"): [
        {"json": {"documents": [{"id": "d0", "text": "overwritten"}]}},
        {"json": {"documents": DOCUMENTS}},
    ],
    ("GET", f"{COLLECTION}/documents"): [
        {},
        {"params": {"limit": 1}},
        {"params": {"cursor": "d0"}},
        {"params": {"cursor": ""}},
    ],
    ("POST", f"{COLLECTION}/documents/get"): [{"json": {"ids": ["d0", "none"]}}],
    ("POST", f"{COLLECTION}/documents/delete"): [
        {"json": {"ids": ["d0"]}},
        {"json": {"filter": {"kind": "secret"}}},
        {"json": {"filter": {"n": {"$gte": 0}}}},
    ],
    ("GET", f"{COLLECTION}/documents/{{id:path}}"): [{}],
    ("DELETE", f"{COLLECTION}/documents/{{id:path}}"): [{}],
    ("POST", "/v1/search"): [
        {"json": {"collection": "{name}", "query": "x"}},
        {"json": {"collection": "{name}", "query": "x", "rerank": False}},
        {"json": {"collection": "{name}", "query": "x", "filter": {"kind": "secret"}}},
    ],
    # Last: it makes a collection of the intruder's own.
    ("PUT", COLLECTION): [{}, {}],
}
# Those that name no collection, and what they answer is the caller's alone.
OWN = {
    ("GET", "/v1/collections"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model:path}"),
    ("GET", "/v1/usage"),
    ("POST", "/embeddings"),
    ("POST", "/infinity/embeddings"),
    ("POST", "/infinity/rerank"),
    ("POST", "/openai/deployments/{model:path}/embeddings"),
    ("POST", "/rerank"),
    ("POST", "/v1/embed"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/rerank"),
    ("POST", "/v2/embed"),
    ("POST", "/v2/rerank"),
}
OPEN = {"/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json", "/ui"}


def asked(request: dict[str, Any], path: str, name: str) -> tuple[str, dict[str, Any]]:
    path = path.replace("{name}", name).replace("{id:path}", "d0")
    if request.get("json", {}).get("collection"):
        request = request | {"json": request["json"] | {"collection": name}}
    if "headers" in request:
        request = request | {"headers": {"x-confirm-delete": name}}
    return path, request


def seen(answer: httpx.Response, name: str) -> tuple[int, str, dict[str, str]]:
    headers = {key: value for key, value in answer.headers.items() if key != "server-timing"}
    return answer.status_code, answer.text.replace(name, "{name}"), headers


@pytest.fixture
async def victim(whole: TestService) -> AsyncIterator[str]:
    """The victim's key. Its collection is there, and is unchanged afterwards."""
    key = await whole.new_key("victim", "read", "write")
    path = f"/v1/collections/{VICTIMS}"
    assert (await whole.send("PUT", path, key=key)).status_code == 201
    body = {"documents": DOCUMENTS}
    assert (await whole.send("POST", f"{path}/documents", key=key, json=body)).is_success
    yield key
    page = (await whole.send("GET", f"{path}/documents", key=key)).json()
    assert page == {"documents": DOCUMENTS, "cursor": None}
    assert (await whole.send("GET", path, key=key)).json()["documents"] == len(DOCUMENTS)


@pytest.fixture(params=["intruder", "VICTIM", "victi", "victim-"])
async def intruder(whole: TestService, request: pytest.FixtureRequest) -> str:
    return await whole.new_key(request.param, "read", "write")


def test_no_route_is_forgotten(whole: TestService) -> None:
    routes = {
        (method, route.path)
        for route in whole.app.routes
        if isinstance(route, Route) and route.path not in OPEN
        for method in (route.methods or set()) - {"HEAD"}
        if not route.path.startswith("/v1/admin/")
    }
    assert routes == set(ASKED) | OWN


async def test_anothers_collection_is_as_if_there_were_none(
    whole: TestService, victim: str, intruder: str
) -> None:
    assert victim
    for (method, path), requests in ASKED.items():
        for request in requests:
            told = []
            for name in (VICTIMS, NOBODYS):
                where, what = asked(request, path, name)
                answer = await whole.send(method, where, key=intruder, **what)
                assert SECRET not in answer.text
                told.append(seen(answer, name))
            assert told[0] == told[1], (method, path, request)
            if method != "PUT":
                assert told[0][0] == 404, (method, path, request)


async def test_a_collection_of_the_same_name_is_another_one(
    whole: TestService, victim: str, intruder: str
) -> None:
    path = f"/v1/collections/{VICTIMS}"
    own = {"id": "d0", "text": "mine", "metadata": {"kind": "secret"}}
    assert (await whole.send("PUT", path, key=intruder)).json()["documents"] == 0
    assert (
        await whole.send("POST", f"{path}/documents", key=intruder, json={"documents": [own]})
    ).is_success
    page = (await whole.send("GET", f"{path}/documents", key=intruder)).json()
    assert page["documents"] == [own]
    body = {"collection": VICTIMS, "query": "x", "top_k": 50, "top_n": 50}
    found = (await whole.send("POST", "/v1/search", key=intruder, json=body)).json()
    assert [one["text"] for one in found["results"]] == ["mine"]
    theirs = (await whole.send("POST", "/v1/search", key=victim, json=body)).json()
    assert {one["text"] for one in theirs["results"]} == {one["text"] for one in DOCUMENTS}
    gone = await whole.send(
        "POST", f"{path}/documents/delete", key=intruder, json={"filter": {"kind": "secret"}}
    )
    assert gone.json() == {"deleted": 1}
    confirmation = {"x-confirm-delete": VICTIMS}
    dropped = await whole.send("DELETE", path, key=intruder, headers=confirmation)
    assert dropped.status_code == 204


async def test_lists_and_usage_are_the_callers_own(
    whole: TestService, victim: str, intruder: str
) -> None:
    assert (await whole.send("GET", "/v1/collections", key=intruder)).json() == {"collections": []}
    answer = await whole.send("GET", "/v1/usage", key=intruder, params={"since": 0})
    assert answer.json()["usage"] == []
    theirs = (await whole.send("GET", "/v1/usage", key=victim, params={"since": 0})).json()
    assert [(one["stage"], one["tokens"]) for one in theirs["usage"]] == [("embed", 5)]


async def test_documents_are_counted_per_tenant_and_limited(
    whole: TestService, victim: str, intruder: str
) -> None:
    whole.plan(documents=len(DOCUMENTS))
    path = f"/v1/collections/{VICTIMS}/documents"
    # Full, and may still replace what it has.
    replacing = await whole.send("POST", path, key=victim, json={"documents": DOCUMENTS})
    assert replacing.is_success
    more = {"documents": [*DOCUMENTS[:2], {"id": "new", "text": "x"}]}
    refused = await whole.send("POST", path, key=victim, json=more)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    await whole.send("PUT", f"/v1/collections/{VICTIMS}", key=intruder)
    assert (await whole.send("POST", path, key=intruder, json=more)).is_success
