"""Collections and documents: made, filled, read, listed, deleted."""

from typing import Any

import httpx
import pytest

from tests.serve.cluster import post

_DOCUMENTS: list[dict[str, Any]] = [
    {"id": "a", "text": "Cats sleep most of the day.", "metadata": {"topic": "animals", "n": 1}},
    {"id": "b/2", "text": "Tax law is complicated.", "metadata": {"topic": "law", "n": 2}},
    {"id": "c ü", "text": "Dogs bark at night.", "metadata": {"topic": "animals", "n": 3}},
]


@pytest.fixture
def filled(api: httpx.Client, collection: str) -> str:
    answer = post(api, f"/v1/collections/{collection}/documents", {"documents": _DOCUMENTS})
    assert answer["upserted"] == 3
    assert answer["tokens"] > 15
    return f"/v1/collections/{collection}"


def test_create_is_idempotent_and_described(api: httpx.Client, collection: str) -> None:
    again = api.put(f"/v1/collections/{collection}")
    assert again.status_code == 200
    body = api.get(f"/v1/collections/{collection}").json()
    assert body == again.json()
    assert (body["name"], body["dimensions"], body["documents"]) == (collection, 384, 0)
    assert body["fingerprint"].startswith("all-MiniLM-L6-v2:")
    listed = api.get("/v1/collections").json()["collections"]
    assert collection in [one["name"] for one in listed]


def test_documents_are_read_back_as_they_were_sent(api: httpx.Client, filled: str) -> None:
    assert api.get(filled).json()["documents"] == 3
    assert api.get(f"{filled}/documents/b%2F2").json() == _DOCUMENTS[1]
    many = post(api, f"{filled}/documents/get", {"ids": ["c ü", "nothing", "a"]})
    assert many["documents"] == [_DOCUMENTS[2], None, _DOCUMENTS[0]]


def test_an_upsert_replaces_whole_documents(api: httpx.Client, filled: str) -> None:
    fresh = {"id": "a", "text": "A new text.", "metadata": {}}
    post(api, f"{filled}/documents", {"documents": [fresh]})
    assert api.get(f"{filled}/documents/a").json() == fresh
    assert api.get(filled).json()["documents"] == 3


def test_pages_cover_all_documents_once(api: httpx.Client, filled: str) -> None:
    seen, cursor = [], None
    for _ in range(5):
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = api.get(f"{filled}/documents", params=query).json()
        seen += [document["id"] for document in page["documents"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(document["id"] for document in _DOCUMENTS)


def test_documents_are_deleted_by_id_and_by_filter(api: httpx.Client, filled: str) -> None:
    assert api.delete(f"{filled}/documents/b%2F2").json() == {"deleted": 1}
    assert api.delete(f"{filled}/documents/b%2F2").json() == {"deleted": 0}
    assert api.get(f"{filled}/documents/b%2F2").status_code == 404
    gone = post(api, f"{filled}/documents/delete", {"filter": {"n": {"$gte": 3}}})
    assert gone == {"deleted": 1}
    assert post(api, f"{filled}/documents/delete", {"ids": ["a", "zzz"]}) == {"deleted": 1}
    assert api.get(filled).json()["documents"] == 0


def test_a_dropped_collection_is_gone(api: httpx.Client, filled: str) -> None:
    confirmation = {"x-confirm-delete": filled.rsplit("/", 1)[1]}
    assert api.delete(filled, headers=confirmation).status_code == 204
    assert api.get(filled).status_code == 404
    response = api.post(f"{filled}/documents", json={"documents": _DOCUMENTS})
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"
