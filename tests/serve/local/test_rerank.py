"""/v1/rerank as Jina's, Cohere's older and vLLM's clients use it."""

from typing import Any

import httpx

from tests.serve.cluster import post

_BODY: dict[str, Any] = {
    "model": "ms-marco-MiniLM-L-12-v2",
    "query": "How many people live in Berlin?",
    "documents": [
        "New York City is famous for the Metropolitan Museum of Art.",
        {"text": "Berlin has a population of 3,520,031 registered inhabitants."},
    ],
}


def test_documents_come_back_as_objects(api: httpx.Client) -> None:
    answer = post(api, "/v1/rerank", _BODY)
    first, second = answer["results"]
    assert (first["index"], second["index"]) == (1, 0)
    assert first["document"]["text"].startswith("Berlin has")
    assert first["relevance_score"] > 0.99 > 0.1 > second["relevance_score"]
    assert answer["usage"]["total_tokens"] > 30
    assert answer["model"] == _BODY["model"]


def test_documents_stay_away_when_not_wanted(api: httpx.Client) -> None:
    answer = post(api, "/v1/rerank", _BODY | {"return_documents": False, "top_n": 1})
    [result] = answer["results"]
    assert set(result) == {"index", "relevance_score"}


def test_max_tokens_per_doc_cuts_documents_only(api: httpx.Client) -> None:
    whole = post(api, "/v1/rerank", _BODY)
    cut = post(api, "/v1/rerank", _BODY | {"max_tokens_per_doc": 3})
    head = post(api, "/v1/rerank", _BODY | {"documents": ["New York City", "Berlin has a"]})
    assert cut["usage"]["total_tokens"] < whole["usage"]["total_tokens"]
    by_index = {result["index"]: result["relevance_score"] for result in cut["results"]}
    for result in head["results"]:
        assert abs(by_index[result["index"]] - result["relevance_score"]) < 1e-4


def test_blank_documents_come_last_and_change_no_score(api: httpx.Client) -> None:
    whole = post(api, "/v1/rerank", _BODY)
    blanks = ["", " ", "\u200b"]
    answer = post(api, "/v1/rerank", _BODY | {"documents": [*blanks, *_BODY["documents"]]})
    assert [one["index"] for one in answer["results"]] == [4, 3, 0, 1, 2]
    scores = [one["relevance_score"] for one in answer["results"]]
    assert scores[2:] == [0, 0, 0]
    for score, alone in zip(scores, whole["results"], strict=False):
        assert abs(score - alone["relevance_score"]) < 1e-4
    assert answer["usage"]["total_tokens"] == whole["usage"]["total_tokens"]


def test_what_vendors_clients_add_without_effect_is_taken(api: httpx.Client) -> None:
    added = {
        "max_chunks_per_doc": 10,
        "rank_fields": ["text"],
        "raw_scores": False,
        "truncate_prompt_tokens": -1,
        "max_tokens_per_doc": 0,
        "priority": 0,
        "request_id": "mine",
    }
    assert (
        post(api, "/v1/rerank", _BODY | added)["usage"] == post(api, "/v1/rerank", _BODY)["usage"]
    )


def test_many_documents_keep_their_own_scores(api: httpx.Client) -> None:
    documents = [f"Berlin fact number {n}" for n in range(300)]
    documents[217] = "Berlin has a population of 3,520,031 registered inhabitants."
    answer = post(api, "/v1/rerank", _BODY | {"documents": documents})
    assert answer["results"][0]["index"] == 217
    assert sorted(result["index"] for result in answer["results"]) == list(range(300))


def test_errors_carry_what_each_client_reads(api: httpx.Client) -> None:
    body = api.post("/v1/rerank", json=_BODY | {"model": "jina-reranker"}).json()
    assert body["error"]["code"] == "model_not_found"
    assert body["detail"] == body["message"] == body["error"]["message"]
