"""The paths of documents and collections through HAProxy and Serve, as tests/whole/test_paths.py
sends them to the application alone."""

from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import httpx
import pytest

from tests import http_clients
from tests.http_clients import Send
from tests.serve.cluster import post

_IDS = ["/a/", "https://example.com/a?b#c", "e\u0301", "100%", "a b"]


@pytest.fixture
def filled(api: httpx.Client, collection: str) -> str:
    """The path of a collection with a document "a" and others with ids that are hard on a path."""
    path = f"/v1/collections/{collection}"
    documents = [{"id": id, "text": "a text"} for id in ["a", *_IDS]]
    post(api, f"{path}/documents", {"documents": documents})
    return path


@pytest.fixture(params=http_clients.NAMES)
def send(request: pytest.FixtureRequest) -> Iterator[Send]:
    with http_clients.opened(request.param) as send:
        yield send


def _root(api: httpx.Client) -> str:
    return str(api.base_url).rstrip("/")


def _headers(api: httpx.Client) -> dict[str, str]:
    return {"authorization": api.headers["authorization"]}


def test_an_id_is_deleted_and_nothing_else(api: httpx.Client, filled: str, send: Send) -> None:
    left = {"a", *_IDS}
    for id in _IDS:
        url = f"{_root(api)}{filled}/documents/{quote(id, safe='')}"
        assert send("DELETE", url, _headers(api)) == 200
        left.remove(id)
        held = api.get(f"{filled}/documents").json()["documents"]
        assert {one["id"] for one in held} == left


def test_dots_delete_nothing(api: httpx.Client, filled: str, send: Send) -> None:
    for id in ("..", ".", "%2e%2e", "x/../.."):
        url = f"{_root(api)}{filled}/documents/{id}"
        assert 400 <= send("DELETE", url, _headers(api)) < 500
        assert api.get(filled).json()["documents"] == len(_IDS) + 1
    body = {"documents": [{"id": "..", "text": "x"}]}
    assert api.post(f"{filled}/documents", json=body).status_code == 400


@pytest.mark.parametrize(
    "suffix",
    ["/", "%2F", "/.", "/documents/..", "/documents%2Fa", "#x", ";x", "?x", "/documents/a#b"],
)
def test_a_path_that_is_not_exactly_a_routes_deletes_nothing(
    api: httpx.Client, filled: str, suffix: str
) -> None:
    host = urlsplit(str(api.base_url)).netloc
    confirmed = _headers(api) | {"x-confirm-delete": filled.rsplit("/", 1)[1]}
    target = f"{filled}{suffix}".encode()
    assert 400 <= http_clients.send_raw(host, "DELETE", target, confirmed) < 500
    assert api.get(filled).json()["documents"] == len(_IDS) + 1
