"""Bad input of every kind gets a 4xx that says what to change, never a 5xx or a traceback."""

import json
import socket
from typing import Any

import httpx
import pytest

_EMBED = {"model": "all-MiniLM-L6-v2", "input": "x"}
_RERANK = {"model": "ms-marco-MiniLM-L-12-v2", "query": "q", "documents": ["d"]}
_COHERE = {"model": "all-MiniLM-L6-v2", "texts": ["x"], "input_type": "search_query"}
_SEARCH = {"collection": "nothing-here", "query": "q"}
_UPSERT = {"documents": [{"id": "a", "text": "x"}]}
_PROXY_BUFFER_BYTES = 64 * 1024  # at least what HAProxy has
_DOCUMENTS = "/v1/collections/nothing-here/documents"

_BODIES: list[tuple[str, Any, str]] = [
    ("/v1/embeddings", _EMBED | {"input": ""}, "at least 1 character"),
    ("/v1/embeddings", _EMBED | {"input": []}, "at least 1 item"),
    ("/v1/embeddings", _EMBED | {"input": ["a", ""]}, "input.1"),
    ("/v1/embeddings", _EMBED | {"input": ["a", 1]}, "valid string"),
    ("/v1/embeddings", _EMBED | {"input": 7}, "valid list"),
    ("/v1/embeddings", _EMBED | {"input": None}, "'input': Field required"),
    ("/v1/embeddings", _EMBED | {"input": {"image": "a"}}, "'input.text': Field required"),
    ("/v1/embeddings", _EMBED | {"input": "a\x00b"}, "NUL"),
    ("/v1/embeddings", _EMBED | {"input": ["x"] * 100_000}, "at most 2048 items"),
    ("/v1/embeddings", _EMBED | {"model": "text-embedding-3-small"}, "all-MiniLM-L6-v2"),
    ("/v1/embeddings", _EMBED | {"model": 3}, "valid string"),
    ("/v1/embeddings", _EMBED | {"dimensions": -1}, "greater than or equal to 1"),
    ("/v1/embeddings", _EMBED | {"dimensions": "wide"}, "valid integer"),
    ("/v1/embeddings", _EMBED | {"dimensions": 4096}, "384 only"),
    ("/v1/embeddings", _EMBED | {"encoding_format": "hex"}, "'float' or 'base64'"),
    ("/v1/embeddings", _EMBED | {"late_chunking": True}, "on its own"),
    ("/v1/embeddings", _EMBED | {"prompt": "query: "}, "before the text"),
    ("/v1/embeddings", _EMBED | {"add_special_tokens": False}, "trained with them"),
    ("/v1/embeddings", _EMBED | {"truncate_prompt_tokens": 0}, "at least 1, or -1"),
    ("/v1/embeddings", {"model": "all-MiniLM-L6-v2"}, "'input': Field required"),
    ("/v1/embeddings", [], "JSON object"),
    ("/v1/embeddings", "text", "JSON object"),
    ("/v1/embeddings", None, "JSON object"),
    ("/v2/embed", _COHERE | {"input_type": "image"}, "input_type"),
    ("/v2/embed", _COHERE | {"texts": ["x"] * 97}, "at most 96"),
    ("/v2/embed", _COHERE | {"embedding_types": ["int4"]}, "embedding_types"),
    ("/v2/embed", _COHERE | {"truncate": "NONE", "max_tokens": 3}, "one of them"),
    ("/v2/embed", {"model": "all-MiniLM-L6-v2", "texts": ["x"]}, "input_type"),
    ("/v1/rerank", _RERANK | {"query": ""}, "query"),
    ("/v1/rerank", _RERANK | {"documents": []}, "at least 1 item"),
    ("/v1/rerank", _RERANK | {"documents": ["", " "]}, "all documents are empty"),
    ("/v1/rerank", _RERANK | {"documents": ["d"] * 100_000}, "at most 1000"),
    ("/v1/rerank", _RERANK | {"documents": [{"title": "no text"}]}, "documents.0"),
    ("/v1/rerank", _RERANK | {"model": "other"}, "ms-marco-MiniLM-L-12-v2"),
    ("/v1/rerank", _RERANK | {"query": "long " * 2_000}, "shorten it"),
    ("/v1/rerank", _RERANK | {"raw_scores": True}, "relevances in [0, 1]"),
    ("/v1/rerank", _RERANK | {"truncate_prompt_tokens": 64}, "max_tokens_per_doc"),
    ("/v1/rerank", _RERANK | {"instruction": "Judge."}, "no model that this request needs"),
    ("/v2/rerank", _RERANK | {"return_documents": "perhaps"}, "return_documents"),
    ("/v2/rerank", _RERANK | {"top_n": 1.5}, "top_n"),
    ("/v1/search", _SEARCH, "nothing-here"),
    ("/v1/search", _SEARCH | {"top_n": 20, "top_k": 10}, "raise top_k or lower top_n"),
    ("/v1/search", _SEARCH | {"top_k": 1_000_000}, "top_k"),
    ("/v1/search", _SEARCH | {"collection": "../etc"}, "collection"),
    ("/v1/search", _SEARCH | {"collection": "'; DROP"}, "collection"),
    ("/v1/search", _SEARCH | {"query": 5}, "query"),
    ("/v1/search", _SEARCH | {"query": "\u200b"}, "is empty"),
    ("/v1/search", _SEARCH | {"speed": "fast"}, "'speed' is not a field"),
    ("/v1/search", _SEARCH | {"rerank": "yes"}, "rerank"),
    ("/v1/search", _SEARCH | {"deadline_ms": 0}, "deadline_ms"),
    ("/v1/search", _SEARCH | {"include": ["vector"]}, "include"),
    ("/v1/search", _SEARCH | {"filter": {"a": {"$like": "b"}}}, "\\$like"),
    (_DOCUMENTS, _UPSERT, "nothing-here"),
    (_DOCUMENTS, {"documents": []}, "at least 1 item"),
    (_DOCUMENTS, {"documents": [{"id": "", "text": "x"}]}, "documents.0.id"),
    (_DOCUMENTS, {"documents": [{"id": "a\n", "text": "x"}]}, "documents.0.id"),
    (_DOCUMENTS, {"documents": [{"id": "a" * 300, "text": "x"}]}, "documents.0.id"),
    (_DOCUMENTS, {"documents": [{"id": "a"}]}, "documents.0.text"),
    (_DOCUMENTS, {"documents": [{"id": "a", "text": "x"}] * 100_000}, "at most 1000"),
    (_DOCUMENTS, {"documents": [{"id": "a", "text": "x", "metadata": {"k": {}}}]}, "metadata"),
    (
        _DOCUMENTS,
        {"documents": [{"id": "a", "text": "x", "metadata": {"k": "v" * 20_000}}]},
        "metadata is larger",
    ),
    (_DOCUMENTS, {"documents": [{"id": "a", "text": "x", "metadata": {"k": "\x00"}}]}, "NUL"),
    (f"{_DOCUMENTS}/delete", {}, "either ids or a filter"),
    (f"{_DOCUMENTS}/delete", {"filter": {}}, "either ids or a filter"),
    (f"{_DOCUMENTS}/delete", {"ids": ["a"], "filter": {"a": 1}}, "either ids or a filter"),
    (f"{_DOCUMENTS}/get", {"ids": "a"}, "ids"),
]


def assert_clear(response: httpx.Response, said: str) -> None:
    """A 4xx in one of the two error shapes, that mentions what is wrong and shows no traceback."""
    assert 400 <= response.status_code < 500, response.text
    body = response.json()
    message = body["error"]["message"] if "error" in body else body["message"]
    assert said.replace("\\", "") in message
    assert "Traceback" not in response.text
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(("path", "body", "said"), _BODIES, ids=range(len(_BODIES)))
def test_bad_body(api: httpx.Client, path: str, body: Any, said: str) -> None:
    assert_clear(api.post(path, json=body), said)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v2/rerank", "/v1/search"])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"not json",
        b'{"model": "all-MiniLM-L6-v2", "input": NaN}',
        b'{"model": "all-MiniLM-L6-v2", "input": "\xff\xfe"}',
        b"[" * 100_000,
        b'{"model": "all-MiniLM-L6-v2", "input": "x"',
    ],
    ids=range(7),
)
def test_not_json(api: httpx.Client, path: str, raw: bytes) -> None:
    response = api.post(path, content=raw, headers={"content-type": "application/json"})
    assert_clear(response, "JSON")


def test_a_body_that_is_not_said_to_be_json(api: httpx.Client) -> None:
    text = {"content-type": "text/plain"}
    response = api.post("/v1/embeddings", content=json.dumps(_EMBED), headers=text)
    assert_clear(response, "Content-Type: application/json")


def test_ten_megabytes_of_text_are_too_large(api: httpx.Client) -> None:
    response = api.post("/v1/embeddings", json=_EMBED | {"input": "x" * 10_000_000})
    assert response.status_code == 413
    assert_clear(response, "fewer or shorter")


def test_ten_megabytes_without_an_announced_length_are_too_large(api: httpx.Client) -> None:
    chunks = (b" " * 1_000_000 for _ in range(10))
    response = api.post(
        "/v1/embeddings", content=chunks, headers={"content-type": "application/json"}
    )
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/embeddings", 405),
        ("POST", "/healthz", 405),
        ("PUT", "/v1/collections/Upper", 400),
        ("PUT", f"/v1/collections/{'a' * 64}", 400),
        ("GET", "/v1/collections/nothing-here", 404),
        ("DELETE", "/v1/collections/nothing-here", 400),  # without its confirmation
        ("GET", f"{_DOCUMENTS}/a", 404),
        ("DELETE", f"{_DOCUMENTS}/a", 404),
        ("GET", f"{_DOCUMENTS}?limit=0", 400),
        ("GET", f"{_DOCUMENTS}?limit=x", 400),
    ],
)
def test_bad_routes(api: httpx.Client, method: str, path: str, status: int) -> None:
    response = api.request(method, path)
    assert response.status_code == status
    assert_clear(response, "")


def test_a_cursor_that_was_never_given_out(api: httpx.Client, collection: str) -> None:
    response = api.get(f"/v1/collections/{collection}/documents", params={"cursor": "?!'\""})
    assert response.json() == {"documents": [], "cursor": None}


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer x", "Basic abc", "Bearer wn_live_a_b"])
@pytest.mark.parametrize("path", ["/v1/embeddings", "/v2/embed", "/v1/rerank", "/v1/search"])
def test_no_key_no_service(api: httpx.Client, path: str, header: str | None) -> None:
    headers = {"authorization": header} if header else {}
    response = httpx.post(f"{api.base_url}{path}", json=_EMBED, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert_clear(response, "key")


def test_no_key_is_answered_before_the_body_is_sent(api: httpx.Client) -> None:
    """HAProxy waits for as much of it as its buffer holds, and the Router for none."""
    head = "POST /v1/search HTTP/1.1\r\nhost: winnow\r\ncontent-length: 8000000\r\n\r\n"
    head += "x" * _PROXY_BUFFER_BYTES
    with socket.create_connection((api.base_url.host, api.base_url.port or 80), 10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(64).startswith(b"HTTP/1.1 401 ")


def test_ten_megabytes_without_a_key_get_their_answer(api: httpx.Client) -> None:
    response = httpx.post(f"{api.base_url}/v1/search", json={"query": "x" * 10_000_000})
    assert response.status_code == 401


def test_the_callers_request_id_is_taken_over_when_well_formed(api: httpx.Client) -> None:
    given = api.get("/healthz", headers={"x-request-id": "order-66.a_b"})
    assert given.headers.get_list("x-request-id") == ["order-66.a_b"]
    hostile = api.post("/v2/rerank", json={}, headers={"x-request-id": "a b;<script>"})
    assert hostile.json()["id"] == hostile.headers["x-request-id"]
    assert "script" not in hostile.headers["x-request-id"]


def test_probes_and_documentation_need_no_key(api: httpx.Client) -> None:
    with httpx.Client(base_url=api.base_url) as anyone:
        assert anyone.get("/healthz").json() == {"status": "alive"}
        assert anyone.get("/readyz").json() == {"ready": True, "stages": {}}
        ready = api.get("/readyz").json()
        assert ready["ready"] is True
        assert set(ready["stages"]) == {"embed", "retrieve", "rerank"}
        assert ready["stages"]["retrieve"]["durability"] == "fsync"
        assert anyone.get("/docs").status_code == 200
        paths = anyone.get("/openapi.json").json()["paths"]
    assert {"/v1/embeddings", "/v2/rerank", "/v1/search"} <= set(paths)
