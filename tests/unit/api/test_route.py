"""The key comes before the body, and a body has limits of size and time."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from deployments.api import body
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
