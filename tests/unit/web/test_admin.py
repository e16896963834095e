"""The operator's routes, and what each scope opens."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.routing import Route

from deployments.tenants.api_keys import Scope
from deployments.tenants.store.database import sqlite_url
from tests.unit.service import TestService

READS = {
    ("POST", "/v1/embeddings"),
    ("POST", "/embeddings"),
    ("POST", "/infinity/embeddings"),
    ("POST", "/openai/deployments/{model:path}/embeddings"),
    ("POST", "/v1/rerank"),
    ("POST", "/rerank"),
    ("POST", "/infinity/rerank"),
    ("POST", "/v1/embed"),
    ("POST", "/v2/embed"),
    ("POST", "/v2/rerank"),
    ("POST", "/v1/search"),
    ("POST", "/v1/collections/{name}/documents/get"),
}
OPEN = {"/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json", "/ui"}


def routes(service: TestService) -> list[tuple[str, str]]:
    return [
        (method, route.path)
        for route in service.app.routes
        if isinstance(route, Route) and route.path not in OPEN
        for method in (route.methods or set()) - {"HEAD"}
    ]


def scope_of(method: str, path: str) -> Scope:
    if path.startswith("/v1/admin"):
        return "admin"
    return "read" if method == "GET" or (method, path) in READS else "write"


def filled(path: str) -> str:
    return path.replace("{name}", "notes").replace("{id:path}", "a").replace("{model:path}", "m")


async def test_every_route_needs_a_key_and_its_own_scope(service: TestService) -> None:
    scopes: list[Scope] = ["read", "write", "admin"]
    keys = {scope: await service.new_key(f"only-{scope}", scope) for scope in scopes}
    seen = routes(service)
    assert len(seen) > 20
    for method, path in seen:
        needed = scope_of(method, path)
        for scope in scopes:
            if scope == needed:
                continue
            answer = await service.send(method, filled(path), key=keys[scope])
            assert answer.status_code == 403, (method, path, scope)
            assert f"'{needed}'" in answer.text
        for wrong in ("wrong", service.key[:-1] + "?"):
            answer = await service.send(method, filled(path), key=wrong)
            assert answer.status_code == 401, (method, path)


async def made(service: TestService, path: str, body: dict[str, Any]) -> Any:
    answer = await service.post(f"/v1/admin/{path}", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def opens(service: TestService, key: str) -> bool:
    return (await service.send("GET", "/v1/models", key=key)).status_code == 200


async def test_a_key_from_its_making_to_its_end(service: TestService) -> None:
    await made(service, "tenants", {"id": "acme"})
    key = await made(service, "keys", {"tenant": "acme", "expires_in_s": 3600})
    assert key["scopes"] == ["read", "write"]
    assert await opens(service, key["key"])
    new = await made(service, f"keys/{key['id']}/rotate", {"overlap_s": 60})
    assert await opens(service, key["key"])
    assert await opens(service, new["key"])
    assert (await service.send("DELETE", f"/v1/admin/keys/{new['id']}")).json()["revoked"]
    assert not await opens(service, new["key"])
    listed = (await service.send("GET", "/v1/admin/keys", params={"tenant": "acme"})).json()
    assert {one["id"] for one in listed["keys"]} == {key["id"], new["id"]}
    assert "key" not in listed["keys"][0]
    audit = (await service.send("GET", "/v1/admin/audit", params={"limit": 3})).json()
    assert [one["action"] for one in audit["audit"]] == ["key.revoke", "key.rotate", "key.create"]
    assert len({one["actor"] for one in audit["audit"]} - {""}) == 1
    older = await service.send("GET", "/v1/admin/audit", params={"before": audit["before"]})
    assert [one["action"] for one in older.json()["audit"]] == [
        "key.create",
        "tenant.create",
        "key.adopt",
    ]
    assert older.json()["before"] is None


async def test_a_disabled_tenant_and_an_unknown_plan(service: TestService) -> None:
    key = await service.new_key("acme")
    service.plan(weight=2.0)
    assert (await service.send("PATCH", "/v1/admin/tenants/acme", json={"plan": "none"})).json()[
        "error"
    ]["message"] == "there is no plan 'none': take one of default"
    for disabled in (True, False):
        body = {"disabled": disabled}
        assert (await service.send("PATCH", "/v1/admin/tenants/acme", json=body)).is_success
        assert await opens(service, key) is not disabled
    listed = (await service.send("GET", "/v1/admin/tenants")).json()["tenants"]
    assert [(one["id"], one["plan"]) for one in listed] == [
        ("acme", "default"),
        ("tenant", "default"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/usage", None),
        ("GET", "/v1/admin/tenants", None),
        ("GET", "/v1/admin/keys", None),
        ("GET", "/v1/admin/audit", None),
        ("POST", "/v1/admin/tenants", {"id": "acme"}),
        ("PATCH", "/v1/admin/tenants/tenant", {"plan": "default"}),
        ("POST", "/v1/admin/keys", {"tenant": "tenant"}),
        ("DELETE", "/v1/admin/keys/none", None),
    ],
)
async def test_while_the_database_is_away_what_needs_it_is_a_503(
    service: TestService,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    body: Any,
) -> None:
    away = create_async_engine(sqlite_url(Path("/no such folder/control.db")))
    with monkeypatch.context() as patched:
        patched.setattr(service.control.database, "_engine", away)
        answer = await service.send(method, path, json=body)
    await away.dispose()
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "stage_unavailable"
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["x-should-retry"] == "true"
    assert not caplog.records


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "tenants", {"id": "tenant"}, 409),
        ("POST", "tenants", {"id": "a/b"}, 400),
        ("POST", "tenants", {"id": "a", "plan": "none"}, 400),
        ("POST", "keys", {"tenant": "none"}, 404),
        ("POST", "keys", {"tenant": "tenant", "scopes": ["all"]}, 400),
        ("POST", "keys", {"tenant": "tenant", "scopes": []}, 400),
        ("POST", "keys", {"tenant": "tenant", "expires_in_s": 0}, 400),
        ("POST", "keys/none/rotate", None, 404),
        ("DELETE", "keys/none", None, 404),
        ("PATCH", "tenants/none", {"disabled": True}, 404),
        ("PATCH", "tenants/none", {}, 404),
        ("GET", "audit?limit=0", None, 400),
        ("GET", "audit?nope=1", None, 400),
        ("GET", "keys?nope=1", None, 400),
        ("GET", "../usage?nope=1", None, 400),
        ("GET", "../usage?since=-1", None, 400),
        # PostgreSQL takes no NUL.
        ("GET", "tenants?after=%00", None, 400),
        ("GET", "keys?after=a%00", None, 400),
        ("GET", "../usage?since=1&since=2", None, 400),
    ],
)
async def test_what_is_wrong_is_said(
    service: TestService, method: str, path: str, body: Any, status: int
) -> None:
    answer = await service.send(method, f"/v1/admin/{path}", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


async def test_another_tenants_usage_is_the_operators_to_see(service: TestService) -> None:
    reader = await service.new_key("acme", "read")
    body = {"model": "embedder", "input": "a"}
    await service.post("/v1/embeddings", json=body)

    async def usage(key: str | None, **query: Any) -> Any:
        return await service.send("GET", "/v1/usage", key=key, params=query | {"since": 0})

    assert (await usage(reader)).json()["usage"] == []
    assert (await usage(reader, tenant="tenant")).status_code == 403
    assert (await usage(reader, tenant="no-such")).status_code == 403
    operator = await service.new_key("operator", "read", "admin")
    [item] = (await usage(operator, tenant="tenant")).json()["usage"]
    assert (item["tenant"], item["tokens"], item["cached_tokens"]) == ("tenant", 1, 1)


async def test_a_change_that_is_stored_is_answered_although_the_copy_cannot_be_refreshed(
    service: TestService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was made and is not shown is lost, and opens for ever."""
    await made(service, "tenants", {"id": "acme"})

    async def away() -> int:
        raise OSError("the database went away")

    with monkeypatch.context() as patched:
        patched.setattr(service.control.registry, "revision", away)
        first = await made(service, "keys", {"tenant": "acme"})
        second = await made(service, f"keys/{first['id']}/rotate", {"overlap_s": 60})
        revoked = await service.send("DELETE", f"/v1/admin/keys/{first['id']}")
        changed = await service.send("PATCH", "/v1/admin/tenants/acme", json={"plan": "default"})
        assert (revoked.status_code, changed.status_code) == (200, 200)
    await service.control.refresh()
    assert await opens(service, second["key"])
    assert not await opens(service, first["key"])


async def test_lists_of_tenants_and_keys_come_in_pages(service: TestService) -> None:
    for tenant in ("a", "b"):
        await service.new_key(tenant)
    seen: dict[str, list[str]] = {"tenants": [], "keys": []}
    for name, ids in seen.items():
        after: dict[str, str] = {}
        while True:
            params = {"limit": "1"} | after
            page = (await service.send("GET", f"/v1/admin/{name}", params=params)).json()
            ids += [one["id"] for one in page[name]]
            assert len(page[name]) <= 1
            if page["after"] is None:
                break
            after = {"after": page["after"]}
    registry = service.control.registry
    assert seen["tenants"] == [one.id for one in await registry.list_tenants(None, 9)]
    assert seen["keys"] == [one.key_id for one in await registry.list_keys()]
    refused = await service.send("GET", "/v1/admin/keys", params={"limit": "1001"})
    assert refused.status_code == 400
