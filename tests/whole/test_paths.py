"""Deleting a document by its path deletes that document or nothing, whatever its id, whichever
client made the path of it, and whether or not the id could be stored today."""

import asyncio
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import httpx
import numpy as np
import pytest

from deployments.config import IndexConfig
from deployments.index import Index
from deployments.stores.base import Namespace, Record
from tests import http_clients
from tests.http_clients import Send
from tests.whole.app import DIMENSIONS, WholeApp, config_in

_COLLECTIONS = ("kept", "other")
_TENANT = "alice"
# No upsert takes them: a client or a proxy would make another path of theirs.
REFUSED = [
    *(".", "..", "./a", "a/.", "../a", "a/..", "a/../b", "x/../..", "a/./b", "../", "./", "/.."),
    *("../documents", "../../other", "../../other/documents/a", "../documents/../documents/a"),
    *("%2e%2e", "%2E%2e", ".%2e", "%2e", "a%2f..%2fb", "..%2f..%2fother", "..%5c..%5cother"),
    *("..\\..\\other", "a\\..\\b", "..;", "..;x=1/..;", "..; "),
    *(" a", "a ", "\u3000a", "a\u00a0", "a\n", "a\tb", "a\x7f", "a\u0085b", "", "a" * 257),
]
# Odd, but sent as they are by whoever percent-encodes them.
ACCEPTED = [
    *("a", "A", "b", "a/b", "/a", "a/", "a//b", "/", "//", "other", "kept", "documents", "..."),
    *("get", "delete", "documents/get", "documents/delete", "a..b", "..a", "a/..b", ".a", "a/...x"),
    *("a;b", "a;b=1", ";", "a?b", "?", "a#b", "#", "a?deadline_ms=1", "a&b=c", "a+b", "a b"),
    *("%", "100%", "%41", "%zz", "%2F", "a%2Fb", "%00", "%252e%252e", "%23", "a\\b", "\\", "\\\\a"),
    *(
        "\u00e9",
        "e\u0301",
        "\ufffd",
        "\u2024\u2024",
        "\uff0e\uff0e",
        "\u2025",
        "\u202e",
        "\U0001f600",
    ),
    *("https://example.com/a?b=c#d", "docs/a.md#0", "~", "*", "'", '"', "<a>", "{id}", "[a]", "|"),
    *("a" * 256, "\u00e9" * 256, "\U0001f600" * 256, "k:1,2@3$!()=", "con", "-", "_", "\u200b"),
]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WholeApp, str]]:
    """A service whose store was filled by a version that took every id."""
    directory = tmp_path_factory.mktemp("paths")
    asyncio.run(_fill(config_in(directory).index))
    whole = WholeApp(directory)
    with whole.served() as url:
        yield whole, url


async def _fill(config: IndexConfig) -> None:
    index = Index(config)
    vector = np.eye(1, DIMENSIONS, dtype=np.float32)[0]
    ids = [id for id in (*ACCEPTED, *REFUSED) if 0 < len(id) <= 256]
    for name in _COLLECTIONS:
        ns = Namespace(_TENANT, name)
        await index.ensure(ns, DIMENSIONS, "fingerprint")
        await index.upsert(
            ns, [Record(id, f"text of {id}", {}, vector) for id in ids], "fingerprint"
        )
    await index.__del__()


class Documents:
    """The ids that the first collection holds and how many are in each, read through the API."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.ids, self.counts = self._read()

    def require_all_but(self, id: str | None) -> bool:
        """True if `id` has gone from the first collection; nothing else may have."""
        ids, counts = self._read()
        gone = self.ids - ids
        assert gone <= {id}
        expected = self.counts | {"kept": self.counts["kept"] - len(gone)}
        assert (ids, counts) == (self.ids - gone, expected)
        self.ids, self.counts = ids, counts
        return bool(gone)

    def _read(self) -> tuple[set[str], dict[str, int]]:
        path = "/v1/collections/kept/documents"
        answer = self._client.get(path, params={"limit": 1000})
        assert answer.status_code == 200, answer.text
        listed = self._client.get("/v1/collections").json()["collections"]
        counts = {one["name"]: one["documents"] for one in listed}
        return {one["id"] for one in answer.json()["documents"]}, counts


@pytest.fixture
def client(stored: tuple[WholeApp, str]) -> Iterator[httpx.Client]:
    whole, url = stored
    with whole.client(url, _TENANT) as client:
        yield client


@pytest.fixture
def documents(client: httpx.Client) -> Documents:
    """Documents with accepted ids, put back, and those of the rest that no test has deleted yet."""
    texts = [{"id": id, "text": "again"} for id in ACCEPTED]
    for name in _COLLECTIONS:
        path = f"/v1/collections/{name}/documents"
        assert client.put(f"/v1/collections/{name}").status_code in (200, 201)
        assert client.post(path, json={"documents": texts}).status_code == 200
    return Documents(client)


@pytest.fixture
def headers(client: httpx.Client) -> dict[str, str]:
    return {"authorization": client.headers["authorization"]}


@pytest.fixture(params=http_clients.NAMES)
def send(request: pytest.FixtureRequest) -> Iterator[Send]:
    with http_clients.opened(request.param) as send:
        yield send


def _path(id: str) -> str:
    return f"/v1/collections/kept/documents/{id}"


def test_an_upsert_refuses_what_no_path_keeps(client: httpx.Client, documents: Documents) -> None:
    for id in REFUSED:
        body = {"documents": [{"id": "fine", "text": "x"}, {"id": id, "text": "x"}]}
        answer = client.post("/v1/collections/kept/documents", json=body)
        assert answer.status_code == 400, id
        message = answer.json()["error"]["message"]
        assert f"the id {id[:256]!r} " in message
        assert "choose another" in message
    documents.require_all_but(None)


def test_a_body_reads_and_deletes_every_id(client: httpx.Client, documents: Documents) -> None:
    ids = sorted(id for id in documents.ids if not any(c in id for c in "\n\t\x7f"))
    assert len(ids) > len(ACCEPTED) + 30
    found = client.post("/v1/collections/kept/documents/get", json={"ids": ids}).json()
    assert [one["id"] for one in found["documents"]] == ids
    for id in ("..", "../../other"):
        answer = client.post("/v1/collections/kept/documents/delete", json={"ids": [id]})
        assert answer.json() == {"deleted": 1}
        assert documents.require_all_but(id)


@pytest.mark.parametrize("safe", ["", "/"], ids=["encoded", "slashes as they are"])
def test_an_accepted_id_is_deleted_and_nothing_else(
    stored: tuple[WholeApp, str],
    documents: Documents,
    headers: dict[str, str],
    send: Send,
    safe: str,
) -> None:
    for id in (id for id in ACCEPTED if not safe or safe in id):
        status = send("DELETE", stored[1] + _path(quote(id, safe=safe)), headers)
        gone = documents.require_all_but(id)
        bare = safe and "" in id.split("/")  # a slash at an end or doubled, and not encoded
        assert (status, gone) == ((400, False) if bare else (200, True)), id


def test_a_refused_id_deletes_nothing(
    stored: tuple[WholeApp, str], documents: Documents, headers: dict[str, str], send: Send
) -> None:
    for id in REFUSED:
        status = send("DELETE", stored[1] + _path(quote(id, safe="")), headers)
        assert 400 <= status < 500, id
        assert not documents.require_all_but(id), id


@pytest.mark.parametrize("safe", ["/", "/\\%;?#"], ids=["slashes as they are", "as it stands"])
def test_no_path_of_a_document_deletes_a_collection(
    stored: tuple[WholeApp, str],
    documents: Documents,
    client: httpx.Client,
    headers: dict[str, str],
    send: Send,
    safe: str,
) -> None:
    """A path that a client makes of an id without encoding it may name another document."""
    for id in [*REFUSED, "../../other?x-confirm-delete=other", "../../other#x"]:
        send("DELETE", stored[1] + _path(quote(id, safe=safe)), headers)
        held = client.get("/v1/collections").json()["collections"]
        assert [one["name"] for one in held] == list(_COLLECTIONS), id
    for one in held:
        assert one["documents"] >= documents.counts[one["name"]] - len(REFUSED)


@pytest.mark.parametrize(
    "target",
    [
        *(b"/v1/collections/kept/", b"/v1/collections//kept", b"//v1/collections/kept"),
        *(b"/v1/collections/kept%2F", b"/v1/collections/kept%2f", b"/v1%2Fcollections%2Fkept"),
        *(b"/v1/collections/./kept", b"/v1/collections/x/../kept", b"/v1/collections/kept/."),
        *(b"/v1/collections/kept/documents/..", b"/v1/collections/kept/documents/%2e%2e"),
        *(b"/v1/collections/kept/documents/%2e%2e%2f", b"/v1/collections/kept/documents%2F.."),
        *(b"/v1/collections/KEPT", b"/V1/collections/kept", b"/v1/collections/kept%20"),
        *(b"/v1/collections/kept;x", b"/v1/collections/kept%00", b"/v1/collections/kept?x"),
        *(b"/v1/collections/kept%2Fdocuments%2Fa", b"/v1/collections/kept/documents%2Fa"),
        *(b"/v1/collections%2Fkept/documents/a", b"/v1/collections/kept/documents//a"),
        *(b"/v1/collections/kept/documents/%ff", b"/v1/collections/kept/documents/\xef\xbf\xbd"),
        *(b"/v1/collections/kept/documents/\xff", b"/v1/collections/kept/documents/a?b"),
        *(b"/v1/collections/kept/documents/a%00", b"/v1/collections/kept/documents/"),
        *(b"/v1/collections/kept/documents", b"/v1/collections", b"/v1/collections/"),
        b"/v1/collections/kept/documents/" + b"..%2f" * 2_000,
    ],
)
def test_a_path_that_is_not_exactly_a_routes_deletes_nothing(
    stored: tuple[WholeApp, str], documents: Documents, headers: dict[str, str], target: bytes
) -> None:
    host = urlsplit(stored[1]).netloc
    confirmed = headers | {"x-confirm-delete": "kept"}
    assert 400 <= http_clients.send_raw(host, "DELETE", target, confirmed) < 500
    assert not documents.require_all_but(None)
