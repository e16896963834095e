"""/v1/search: retrieve, rerank, filter, and the account of where the time went."""

from typing import Any

import httpx
import pytest

from deployments.web.schemas import SearchResponse
from tests.serve.cluster import post

_TEXTS = {
    "berlin": "Berlin has a population of 3,520,031 registered inhabitants.",
    "museum": "New York City is famous for the Metropolitan Museum of Art.",
    "capital": "Berlin is the capital of Germany.",
    "banana": "Bananas are rich in potassium.",
}
_QUERY = "How many people live in Berlin?"


@pytest.fixture
def filled(api: httpx.Client, collection: str) -> str:
    documents = [
        {"id": id, "text": text, "metadata": {"city": "Berlin" in text, "length": len(text)}}
        for id, text in _TEXTS.items()
    ]
    post(api, f"/v1/collections/{collection}/documents", {"documents": documents})
    return collection


def search(api: httpx.Client, collection: str, **more: Any) -> Any:
    return post(api, "/v1/search", {"collection": collection, "query": _QUERY} | more)


def test_the_best_candidate_comes_first_with_both_scores(api: httpx.Client, filled: str) -> None:
    answer = search(api, filled, top_k=4, top_n=2)
    best, second = answer["results"]
    assert (best["id"], second["id"]) == ("berlin", "capital")
    assert best["text"] == _TEXTS["berlin"]
    assert best["metadata"] == {"city": True, "length": len(_TEXTS["berlin"])}
    assert 0.99 < best["relevance_score"] <= 1
    assert 0.5 < best["retrieval_score"] <= 1
    assert answer["usage"]["candidates"] == 4
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["embed_tokens"] + usage["rerank_tokens"] > 60


def test_the_scores_are_those_of_the_stages_alone(api: httpx.Client, filled: str) -> None:
    answer = search(api, filled, top_n=4)
    alone = post(api, "/v1/rerank", {"query": _QUERY, "documents": list(_TEXTS.values())})
    ids = list(_TEXTS)
    expected = {ids[result["index"]]: result["relevance_score"] for result in alone["results"]}
    for result in answer["results"]:
        assert result["relevance_score"] == pytest.approx(expected[result["id"]], abs=1e-4)


def test_without_rerank_the_retrieval_order_stands(api: httpx.Client, filled: str) -> None:
    answer = search(api, filled, rerank=False, top_n=3)
    scores = [result["retrieval_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 3
    assert {result["relevance_score"] for result in answer["results"]} == {None}
    assert answer["usage"]["rerank_tokens"] == 0


def test_a_filter_acts_before_the_candidates_are_chosen(api: httpx.Client, filled: str) -> None:
    answer = search(api, filled, filter={"city": False}, top_k=1, top_n=1)
    assert answer["results"][0]["id"] in ("museum", "banana")
    none = search(api, filled, filter={"length": {"$gt": 10_000}})
    assert none["results"] == []


def test_include_chooses_the_fields(api: httpx.Client, filled: str) -> None:
    [result] = search(api, filled, include=["metadata"], top_n=1)["results"]
    assert set(result) == {"id", "metadata", "relevance_score", "retrieval_score"}


@pytest.mark.parametrize(
    "more", [{}, {"rerank": False}, {"include": []}, {"filter": {"city": "nowhere"}}], ids=str
)
def test_the_answer_is_what_the_schema_says(
    api: httpx.Client, filled: str, more: dict[str, Any]
) -> None:
    answer = search(api, filled, **more)
    assert set(answer) == set(SearchResponse.model_fields) - {"degraded", "truncated"}
    SearchResponse.model_validate(answer, extra="forbid", strict=True)


def test_timings_are_in_the_body_and_in_the_header(api: httpx.Client, filled: str) -> None:
    response = api.post("/v1/search", json={"collection": filled, "query": _QUERY})
    timings = response.json()["timings_ms"]
    assert list(timings) == ["tokenize", "embed", "retrieve", "rerank", "total"]
    stages = sum(ms for name, ms in timings.items() if name != "total")
    assert 0 < stages <= timings["total"] + 0.01
    header = response.headers["server-timing"]
    assert [part.split(";")[0].strip() for part in header.split(",")] == list(timings)


def test_a_deadline_that_cannot_be_kept_is_a_504(api: httpx.Client, filled: str) -> None:
    body = {"collection": filled, "query": _QUERY, "deadline_ms": 1}
    response = api.post("/v1/search", json=body)
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "deadline_exceeded"
