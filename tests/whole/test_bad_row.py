"""A text that the engine does not take ends its own request, and nobody else's."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from deployments.batching.model_replica import ModelReplica
from tests.whole.app import WholeApp

_FAILURES = ("refused", "infinite")


@pytest.fixture(params=_FAILURES)
def bad(
    request: pytest.FixtureRequest, whole: WholeApp, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A text, which the engine does not take or answers with infinity."""
    text = "zebra"
    monkeypatch.setattr(whole.engine, request.param, {whole.token(text)})
    ended: list[str] = []
    monkeypatch.setattr(ModelReplica, "_end", lambda _, why: ended.append(why))
    yield text
    assert not ended


def test_embeddings(whole: WholeApp, url: str, bad: str) -> None:
    def embed(number: int) -> httpx.Response:
        texts = [f"text {number}", "and another", *([bad] if number == 7 else [])]
        return client.post("/v1/embeddings", json={"input": texts, "model": whole.embed_model})

    with whole.client(url, "alice") as client, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(embed, range(16)))
        again = client.post("/v1/embeddings", json={"input": bad, "model": whole.embed_model})
    failed = answers.pop(7)
    assert {answer.status_code for answer in answers} == {200}
    assert (failed.status_code, failed.json()["error"]["code"]) == (500, "row_failed")
    assert "row 2 " in failed.json()["error"]["message"]
    assert failed.headers["x-should-retry"] == "false"
    assert again.status_code == 500, "it is not kept"


def test_rerank(whole: WholeApp, url: str, bad: str) -> None:
    documents = ["a horse", "a donkey", bad, "a mule"]
    with whole.client(url, "bob") as client:
        ranked = client.post("/v1/rerank", json={"query": "what neighs?", "documents": documents})
        good = client.post("/v1/rerank", json={"query": "what?", "documents": ["a horse"]})
    assert (ranked.status_code, good.status_code) == (500, 200)
    assert "rerank stage could not compute row 2 " in ranked.text


def test_an_upsert_with_a_bad_document_stores_none(whole: WholeApp, url: str, bad: str) -> None:
    path = "/v1/collections/bad-row"
    documents = [{"id": "a", "text": "a horse"}, {"id": "b", "text": bad}]
    with whole.client(url, "bob") as client:
        client.put(path)
        failed = client.post(f"{path}/documents", json={"documents": documents})
        stored = client.get(path).json()["documents"]
    assert (failed.status_code, failed.json()["error"]["code"]) == (500, "row_failed")
    assert "row 1 " in failed.json()["error"]["message"]
    assert stored == 0
