"""No line of the request log holds what a client sent: a text, a query, an id, a key.

Every route is sent a canary in each place where a client may put anything.
"""

import json
import re
import time
from collections.abc import Iterator
from itertools import product
from typing import Any

import httpx
import pytest

from tests.whole.app import WholeApp

CANARY = "canary7c1e"
KEY_CANARY = f"wn_live_{CANARY}"
_LAST_ID = "the-last-request"


@pytest.fixture
def canary(whole: WholeApp, url: str) -> Iterator[httpx.Client]:
    with whole.client(url, "alice") as client:
        client.put(f"/v1/collections/{CANARY}")
        yield client
        client.delete(f"/v1/collections/{CANARY}", headers={"x-confirm-delete": CANARY})


def _well_formed() -> list[tuple[str, str, Any]]:
    """Requests that succeed."""
    text = f"a {CANARY} is a bird"
    document = {"id": CANARY, "text": text, "metadata": {CANARY: CANARY}}
    documents = f"/v1/collections/{CANARY}/documents"
    search = {"collection": CANARY, "query": text, "filter": {CANARY: CANARY}}
    return [
        ("POST", documents, {"documents": [document]}),
        ("POST", "/v1/search", search),
        ("POST", "/v1/search", search | {"rerank": False}),
        ("POST", f"{documents}/get", {"ids": [CANARY]}),
        ("GET", f"{documents}/{CANARY}", None),
        ("GET", documents, None),
        ("GET", "/v1/collections", None),
        ("GET", f"/v1/collections/{CANARY}", None),
        ("POST", "/v1/embeddings", {"input": [text], "user": CANARY}),
        ("POST", "/v1/rerank", {"query": text, "documents": [text, CANARY]}),
        ("POST", "/v2/rerank", {"query": text, "documents": [text], "model": None}),
        ("POST", "/v2/embed", {"texts": [text], "input_type": "search_query"}),
        ("DELETE", f"{documents}/{CANARY}", None),
    ]


def _everywhere(client: httpx.Client) -> Iterator[tuple[str, str, Any]]:
    """Each route of the service with the canary in its path and in each field of its body."""
    described = client.get("/openapi.json").json()
    objects = described["components"]["schemas"].values()
    fields = {name for schema in objects for name in schema.get("properties", {})}
    for path, methods in described["paths"].items():
        for method, body in product(methods, (CANARY, dict.fromkeys(fields, CANARY))):
            yield method.upper(), re.sub(r"\{[^}]+\}", CANARY, path), body


def _read_until(capfd: pytest.CaptureFixture[str], request_id: str) -> str:
    logged, deadline_s = "", time.monotonic() + 10
    while f'"{request_id}"' not in logged:
        assert time.monotonic() < deadline_s, logged
        time.sleep(0.05)
        logged += capfd.readouterr().out
    return logged


def test_no_line_holds_what_a_client_sent(
    canary: httpx.Client, whole: WholeApp, capfd: pytest.CaptureFixture[str]
) -> None:
    for method, path, body in _well_formed():
        answered = canary.request(method, path, json=body, params={"deadline_ms": 30_000})
        assert answered.is_success, answered.text
    for method, path, body in _everywhere(canary):
        canary.request(method, path, json=body)
        canary.request(method, path, content=f'{{"{CANARY}', params={CANARY: CANARY})
        bad_key = {"authorization": f"Bearer {KEY_CANARY}", "api-key": KEY_CANARY}
        canary.request(method, path, json=body, headers=bad_key)
    canary.get(f"/{CANARY}", headers={"traceparent": CANARY, "tracestate": f"a={CANARY}"})
    canary.get("/v1/nowhere", headers={"x-request-id": _LAST_ID})

    logged = _read_until(capfd, _LAST_ID)
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    routes = {line["route"] for line in lines}
    guarded = {"/v1/search", "/v1/embeddings", "/v2/rerank", "/v1/collections/{name}/documents"}
    assert guarded <= routes
    assert {line["status"] for line in lines} >= {200, 400, 401, 404}
    assert CANARY not in logged.lower()
    for key in whole.keys.values():
        assert key not in logged


def test_line_of_a_search(canary: httpx.Client, capfd: pytest.CaptureFixture[str]) -> None:
    document = {"id": "1", "text": "3.5 million people live in Berlin."}
    canary.post(f"/v1/collections/{CANARY}/documents", json={"documents": [document]})
    asked = {"collection": CANARY, "query": "how many?"}
    answered = canary.post("/v1/search", json=asked, headers={"x-request-id": "one-search"})

    logged = _read_until(capfd, "one-search")
    [line] = [json.loads(one) for one in logged.splitlines() if '"one-search"' in one]
    usage = answered.json()["usage"]
    assert line["tenant"] == "alice"
    assert (line["route"], line["status"], line["error"]) == ("/v1/search", 200, None)
    assert list(line["stages_ms"]) == ["tokenize", "embed", "retrieve", "rerank"]
    assert line["tokens"] == {"embed": usage["embed_tokens"], "rerank": usage["rerank_tokens"]}
    assert sum(line["stages_ms"].values()) <= line["duration_ms"]
