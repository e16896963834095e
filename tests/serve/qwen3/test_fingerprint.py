"""A collection answers only to the model that made its vectors."""

from typing import Any

import httpx
import pytest

from tests.serve.qwen3.conftest import LEFT_BEHIND

_DOCUMENTS = {"documents": [{"id": "a", "text": "x"}]}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", f"/v1/collections/{LEFT_BEHIND}", None),
        ("POST", f"/v1/collections/{LEFT_BEHIND}/documents", _DOCUMENTS),
        ("POST", "/v1/search", {"collection": LEFT_BEHIND, "query": "q"}),
    ],
)
def test_another_models_collection_is_refused(
    api: httpx.Client, method: str, path: str, body: Any
) -> None:
    response = api.request(method, path, json=body)
    assert response.status_code == 409
    error = response.json()["error"]
    assert error["code"] == "fingerprint_mismatch"
    assert "all-MiniLM-L6-v2:" in error["message"]
    assert "tiny-qwen3-embedding:" in error["message"]
    assert "ingest it again" in error["message"]


def test_it_can_still_be_described_and_deleted(api: httpx.Client) -> None:
    path = f"/v1/collections/{LEFT_BEHIND}"
    assert api.get(path).json()["fingerprint"].startswith("all-MiniLM-L6-v2:")
    confirmation = {"x-confirm-delete": path.rsplit("/", 1)[1]}
    assert api.delete(path, headers=confirmation).status_code == 204


def test_search_works_with_the_running_model(api: httpx.Client, collection: str) -> None:
    api.post(f"/v1/collections/{collection}/documents", json=_DOCUMENTS)
    answer = api.post("/v1/search", json={"collection": collection, "query": "q"}).json()
    assert [result["id"] for result in answer["results"]] == ["a"]
