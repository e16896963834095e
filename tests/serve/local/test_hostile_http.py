"""Hostile HTTP: each request gets a 4xx or a closed connection, and the service stays ready."""

import socket
import time
from collections.abc import Iterator

import httpx
import pytest

_JSON = {"content-type": "application/json"}
_ROUTES = ("/v1/embeddings", "/v1/rerank", "/v2/embed", "/v1/search")

_BODIES = {
    "deep lists": b"[" * 500_000 + b"]" * 500_000,
    "deep objects": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "truncated": b'{"model": "all-MiniLM-L6-v2", "inp',
    "utf-16": '{"model": "m", "input": "x"}'.encode("utf-16"),
    "utf-8 with a byte order mark": b'\xef\xbb\xbf{"model": "m"}',
    "latin-1": '{"model": "é"}'.encode("latin-1"),
    "overlong utf-8": b'{"model": "\xc0\xaf"}',
    "NaN": b'{"model": "m", "top_n": NaN}',
    "Infinity": b'{"model": "m", "top_n": -Infinity}',
    "1e999": b'{"model": "m", "top_n": 1e999}',
    "a number of 100,000 digits": b'{"model": "m", "top_n": ' + b"9" * 100_000 + b"}",
    "a lone surrogate": b'{"model": "m", "input": "\\udc00"}',
    "duplicate keys": b'{"model": "m", "model": 7, "input": "x", "input": 7, "query": 7}',
    "a NUL": b'{"model": "m", "input": "\x00"}',
    "a NUL between": b"{}\x00{}",
    "two documents": b'{"model": "m"}{"model": "m"}',
    "a million keys": b"{" + b",".join(b'"%d":0' % n for n in range(300_000)) + b"}",
    "a pickle": b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system",
    "compressed": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    "the key __proto__": b'{"__proto__": {"admin": true}, "constructor": {}}',
}


@pytest.fixture(autouse=True)
def _lives_on(api: httpx.Client) -> Iterator[None]:
    yield
    assert api.get("/readyz").json()["ready"] is True


def _raw(api: httpx.Client, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """Answer to `pieces`, up to 64 KiB, until the connection is closed or silent for a while."""
    answer = b""
    with socket.create_connection((api.base_url.host, api.base_url.port or 80), 10) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause_s)
            connection.settimeout(1.5)
            while len(answer) < 65_536 and (piece := connection.recv(65_536)):
                answer += piece
        except OSError:
            pass  # closed on us, or silent
    return answer


def _head(api: httpx.Client, *lines: str) -> bytes:
    key = api.headers["authorization"]
    first = ("POST /v1/embeddings HTTP/1.1", "host: winnow", f"authorization: {key}")
    return "\r\n".join([*first, "content-type: application/json", *lines, "", ""]).encode()


def _assert_refused(answer: bytes) -> None:
    """A 4xx, or nothing at all; never a success, a fault of ours, or its traceback."""
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]
    assert b"Traceback" not in answer


@pytest.mark.parametrize("path", _ROUTES)
@pytest.mark.parametrize("name", _BODIES)
def test_a_hostile_body_is_a_4xx(api: httpx.Client, path: str, name: str) -> None:
    answer = api.post(path, content=_BODIES[name], headers=_JSON)
    assert 400 <= answer.status_code < 500, answer.text[:300]
    assert "Traceback" not in answer.text
    body = answer.json()
    assert body["message"] if path == "/v2/embed" else body["error"]["message"]


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/xml", "multipart/form-data; boundary=x", "a/b; charset=\xff"],
)
def test_a_body_of_another_type_is_a_4xx(api: httpx.Client, content_type: str) -> None:
    headers = {b"content-type": content_type.encode("latin-1")}
    answer = api.post("/v1/embeddings", content=b"{}", headers=headers)
    assert answer.status_code == 400


def test_ten_thousand_headers(api: httpx.Client) -> None:
    many = [f"x-{n}: {n}" for n in range(10_000)]
    _assert_refused(_raw(api, _head(api, *many, "content-length: 2"), b"{}"))


def test_a_header_of_a_megabyte(api: httpx.Client) -> None:
    _assert_refused(_raw(api, _head(api, f"x-long: {'x' * 1_000_000}", "content-length: 2")))


def test_a_path_of_a_hundred_kilobytes(api: httpx.Client) -> None:
    _assert_refused(_raw(api, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: winnow\r\n\r\n"))


@pytest.mark.parametrize(
    "line",
    [
        "content-length: -1",
        "content-length: x",
        "content-length: 99999999999999999999999",
        "content-length: 2\r\ncontent-length: 3",
        "content-length: 2\r\ntransfer-encoding: chunked",
        "transfer-encoding: nonsense",
        " folded: header",
        "no colon",
        "a\x00b: c",
    ],
)
def test_broken_framing(api: httpx.Client, line: str) -> None:
    _assert_refused(_raw(api, _head(api, line), b"{}"))


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\n{}\r\n0\r\n\r\n", b"-2\r\n{}\r\n", b"ffffffffffffffffff\r\n{}\r\n", b"2\r\n{}x"],
)
def test_broken_chunks(api: httpx.Client, chunks: bytes) -> None:
    _assert_refused(_raw(api, _head(api, "transfer-encoding: chunked"), chunks))


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 512,  # a TLS hello
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 10_000,
        b"GET\r\n\r\n",
        b"\r\n" * 10_000,
    ],
)
def test_what_is_no_http(api: httpx.Client, raw: bytes) -> None:
    answer = _raw(api, raw)
    assert not answer.startswith(b"HTTP/1.1 2")
    assert b"Traceback" not in answer


def test_a_length_that_promises_more_than_comes(api: httpx.Client) -> None:
    _assert_refused(_raw(api, _head(api, "content-length: 1000"), b'{"model": '))


def test_a_length_that_promises_less_than_comes(api: httpx.Client) -> None:
    _assert_refused(_raw(api, _head(api, "content-length: 2"), b"{}" + b"garbage" * 100))


def test_slow_senders_keep_nobody_waiting(api: httpx.Client) -> None:
    address = (api.base_url.host, api.base_url.port or 80)
    slow = [socket.create_connection(address, 10) for _ in range(200)]
    try:
        for at, connection in enumerate(slow):
            whole = _head(api, "content-length: 1000")
            connection.sendall(whole if at % 2 else whole[:40])
        began = time.monotonic()
        body = {"model": "all-MiniLM-L6-v2", "input": "quick"}
        assert api.post("/v1/embeddings", json=body).status_code == 200
        assert time.monotonic() - began < 30
    finally:
        for connection in slow:
            connection.close()
