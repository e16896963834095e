"""The key comes before the body, and a body has limits of size and time."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from deployments.tenants.plans import Plans
from deployments.web import body, guarded_route
from tests.unit.service import TestService

_EMBED = {"model": "embedder", "input": "x"}
_JSON = {"content-type": "application/json"}


async def _pieces(*pieces: bytes, pause_s: float = 0.0) -> AsyncIterator[bytes]:
    for piece in pieces:
        await asyncio.sleep(pause_s)
        yield piece


@pytest.mark.parametrize("key", [None, "Bearer wrong"])
async def test_without_a_key_the_body_is_not_even_read(
    service: TestService, key: str | None
) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/embeddings",
        "query_string": b"",
        "headers": [(b"authorization", key.encode())] if key else [],
    }
    await service.app(scope, receive, send)
    assert sent[0]["status"] == 401
    assert json.loads(sent[1]["body"])["error"]["code"] == "invalid_api_key"


async def test_a_body_in_pieces_is_put_together(service: TestService) -> None:
    pieces = _pieces(b'{"model": "embedder",', b'"input": ', b'"x"}')
    answer = await service.post("/v1/embeddings", content=pieces, headers=_JSON)
    assert answer.status_code == 200
    assert service.pipeline.asked[1] == ["x"]


@pytest.mark.parametrize("pieces", [9, 65])
async def test_a_body_over_the_limit_is_a_413(service: TestService, pieces: int) -> None:
    content = _pieces(*[b" " * 1024 * 1024] * pieces)
    answer = await service.post("/v1/embeddings", content=content, headers=_JSON)
    assert answer.status_code == 413
    assert "fewer or shorter" in answer.json()["error"]["message"]


async def test_a_body_that_does_not_arrive_is_a_408(
    service: TestService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "BODY_TIMEOUT_S", 0.05)
    content = _pieces(b"{", b" ", pause_s=0.04)
    answer = await service.post("/v1/embeddings", content=content, headers=_JSON)
    assert answer.status_code == 408
    assert answer.json()["error"]["code"] == "request_timeout"
    assert answer.headers["connection"] == "close"
    assert (await service.post("/v1/embeddings", json=_EMBED)).status_code == 200


def _routes(service: TestService) -> list[tuple[str, str]]:
    document = service.app.openapi()["paths"]
    return [(method, path) for path, found in document.items() for method in found]


async def test_every_route_but_the_probes_declares_a_deadline(service: TestService) -> None:
    document = service.app.openapi()["paths"]
    for method, path in _routes(service):
        named = [one["name"] for one in document[path][method].get("parameters", [])]
        assert named.count("deadline_ms") == (0 if path.endswith("z") else 1), (method, path)


@pytest.mark.parametrize("given", ["0", "120001", "1.5", "soon", "", "1e3"])
async def test_a_deadline_that_is_none_is_a_400(service: TestService, given: str) -> None:
    for method, path in _routes(service):
        if path.endswith("z"):
            continue
        answer = await service.send(method.upper(), path, params={"deadline_ms": given})
        assert answer.status_code == 400, (method, path)
        assert "deadline_ms" in answer.text


async def test_a_route_that_takes_longer_than_it_may_is_a_504(
    service: TestService, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = 0

    async def for_ever(*_: Any) -> None:
        nonlocal stopped
        try:
            await asyncio.sleep(60)
        finally:
            stopped += 1

    monkeypatch.setattr(service.control.registry, "list_tenants", for_ever)
    monkeypatch.setattr(service.control.meter, "flush", for_ever)
    for number, path in enumerate(("/v1/admin/tenants", "/v1/usage"), start=1):
        answer = await service.send("GET", path, params={"deadline_ms": 20})
        assert (answer.status_code, stopped) == (504, number)
        assert answer.json()["error"]["code"] == "deadline_exceeded"
        assert not service.admission.slots.held("tenant")


@pytest.mark.parametrize("path", ["/v1/admin/tenants", "/v1/usage"])
async def test_a_route_without_a_deadline_has_the_default(
    service: TestService, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async def for_ever(*_: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(guarded_route, "DEFAULT_DEADLINE_S", 0.02)
    monkeypatch.setattr(service.control.registry, "list_tenants", for_ever)
    monkeypatch.setattr(service.control.meter, "flush", for_ever)
    answer = await asyncio.wait_for(service.send("GET", path), 10)
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    assert not service.admission.slots.held("tenant")


async def test_the_default_ends_no_request_whose_body_asks_for_more(
    service: TestService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded_route, "DEFAULT_DEADLINE_S", 0.0)
    body = _EMBED | {"deadline_ms": 60_000}
    assert (await service.post("/v1/embeddings", json=body)).status_code == 200
    assert (await service.send("GET", "/v1/models")).status_code == 504


async def test_the_time_the_body_takes_counts(service: TestService) -> None:
    content = _pieces(b"{", b" ", pause_s=0.05)
    path = "/v1/embeddings?deadline_ms=20"
    answer = await service.post(path, content=content, headers=_JSON)
    assert answer.status_code == 504


@pytest.mark.parametrize(
    ("query_ms", "body_ms", "left_s"),
    [(None, None, 30), (500, None, 0.5), (None, 60_000, 60), (500, 700, 0.5), (700, 500, 0.5)],
)
async def test_the_earlier_of_query_and_body_holds(
    service: TestService, query_ms: int | None, body_ms: int | None, left_s: float
) -> None:
    seen = []
    embed = service.pipeline.embed_documents

    async def noting(texts: Any, cut: Any, context: Any) -> Any:
        seen.append(context.deadline.left_s())
        return await embed(texts, cut, context)

    service.pipeline.embed_documents = noting
    params = {} if query_ms is None else {"deadline_ms": query_ms}
    body = _EMBED if body_ms is None else _EMBED | {"deadline_ms": body_ms}
    assert (await service.post("/v1/embeddings", json=body, params=params)).status_code == 200
    assert seen == [left_s]


async def test_no_route_redirects(service: TestService) -> None:
    for method, path in _routes(service):
        for other in (f"{path}/", f"{path}//", path.replace("/v1/", "/v1//"), f"/{path}"):
            answer = await service.send(method.upper(), other)
            assert not answer.is_redirect, (method, other)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1%2Fcollections%2Fbooks"),
        ("PUT", "/%761/collections/books"),
        ("DELETE", "/v1/collections%2Fbooks"),
        ("DELETE", "/v1/collections/books%2Fdocuments%2Fa"),
        ("DELETE", "/v1/collections/books/documents/a/"),
        ("DELETE", "/v1/collections/books/documents//a"),
        ("DELETE", "/v1/collections/books/documents/%ff"),
        ("DELETE", "/v1/admin/keys%2Fabc"),
        ("POST", "/v1/admin/keys/abc%2Frotate"),
        ("PATCH", "/v1/admin/tenants%2Fabc"),
    ],
)
async def test_a_change_answers_only_to_its_exact_path(
    service: TestService, method: str, path: str
) -> None:
    answer = await service.send(method, path)
    assert answer.status_code == 400
    assert "is not written as its route" in answer.json()["error"]["message"]


async def test_a_deletion_with_a_query_that_it_does_not_have_is_a_400(service: TestService) -> None:
    answer = await service.send("DELETE", "/v1/collections/books/documents/a?b")
    assert answer.status_code == 400
    assert "%3F" in answer.json()["error"]["message"]


@pytest.mark.parametrize("headers", [{}, {"x-confirm-delete": "other"}])
async def test_a_collection_is_not_deleted_without_its_name_again(
    service: TestService, headers: dict[str, str]
) -> None:
    answer = await service.send("DELETE", "/v1/collections/books", headers=headers)
    assert answer.status_code == 400
    assert "'x-confirm-delete: books'" in answer.json()["error"]["message"]


async def test_a_client_that_leaves_while_it_sends_is_no_fault_of_ours(
    service: TestService, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[Any] = []
    arriving = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        return arriving.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/embeddings",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {service.key}".encode())],
    }
    await service.app(scope, receive, send)
    assert sent[0]["status"] == 499
    assert not caplog.records
    assert not service.admission.slots.held("tenant")


@pytest.mark.parametrize("chunked", [False, True])
async def test_requests_that_may_be_large_take_more_of_the_routers_room(
    service: TestService, chunked: bool
) -> None:
    service.admission.configure(Plans(requests_at_once=20))
    read = asyncio.Event()

    async def large() -> AsyncIterator[bytes]:
        read.set()
        await asyncio.sleep(60)
        yield b""

    headers = {} if chunked else {"content-length": str(body.MAX_BODY_BYTES)}
    first = asyncio.create_task(
        service.post("/v1/embeddings", content=large(), headers=headers | _JSON)
    )
    await read.wait()
    second = await service.post("/v1/embeddings", content=large(), headers=headers | _JSON)
    assert second.status_code == 503
    assert second.json()["error"]["code"] == "overloaded"
    assert (await service.post("/v1/embeddings", json=_EMBED)).status_code == 200
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert not service.admission.slots.held("tenant")


async def test_a_large_request_alone_is_taken_however_few_there_may_be(
    service: TestService,
) -> None:
    service.admission.configure(Plans(requests_at_once=1))
    longest = {"model": "embedder", "input": ["x" * 2**20] * 4}
    assert (await service.post("/v1/embeddings", json=longest)).status_code != 503
