"""/v2/embed and /v2/rerank in Cohere's shapes."""

import base64
from typing import Any

import httpx
import numpy as np
import pytest

from tests.serve.cluster import post

_EMBEDDER = "all-MiniLM-L6-v2"
_RERANKER = "ms-marco-MiniLM-L-12-v2"
_KINDS = ["float", "int8", "uint8", "binary", "ubinary", "base64"]


def embed(api: httpx.Client, **more: Any) -> Any:
    body = {"model": _EMBEDDER, "texts": ["hello world"], "input_type": "search_document"} | more
    return post(api, "/v2/embed", body)


def test_every_embedding_type_is_the_same_vector(api: httpx.Client) -> None:
    answer = embed(api, embedding_types=_KINDS)
    assert answer["response_type"] == "embeddings_by_type"
    assert answer["texts"] == ["hello world"]
    assert answer["meta"]["billed_units"]["input_tokens"] == 4
    by_kind = {kind: vectors[0] for kind, vectors in answer["embeddings"].items()}
    floats = np.array(by_kind["float"], np.float32)
    assert np.allclose(np.array(by_kind["int8"]) / 127, floats, atol=0.005)
    assert (np.array(by_kind["uint8"]) - 128 == np.array(by_kind["int8"])).all()
    bits = np.unpackbits(np.array(by_kind["ubinary"], np.uint8))
    assert (bits == (floats > 0)).all()
    assert (np.array(by_kind["binary"]) + 128 == np.array(by_kind["ubinary"])).all()
    assert np.allclose(np.frombuffer(base64.b64decode(by_kind["base64"]), "<f4"), floats)


def test_truncation_keeps_the_end_or_the_start_or_is_refused(api: httpx.Client) -> None:
    long = ["alpha " * 400 + "omega " * 400]
    ends = embed(api, texts=["omega " * 254])["embeddings"]["float"][0]
    kept = embed(api, texts=long, truncate="START")["embeddings"]["float"][0]
    assert np.dot(ends, kept) > 0.9999
    assert np.dot(ends, embed(api, texts=long)["embeddings"]["float"][0]) < 0.95
    body = {"model": _EMBEDDER, "texts": long, "input_type": "clustering", "truncate": "NONE"}
    refused = api.post("/v2/embed", json=body)
    assert refused.status_code == 400
    assert set(refused.json()) == {"message", "id"}


def test_inputs_of_one_text_are_the_texts(api: httpx.Client) -> None:
    inputs = [{"content": [{"type": "text", "text": text}]} for text in ("hello world", "a cat")]
    answer = embed(api, texts=None, inputs=inputs)
    assert answer["texts"] == ["hello world", "a cat"]
    alone = embed(api)["embeddings"]["float"][0]
    assert np.dot(answer["embeddings"]["float"][0], alone) > 0.9999


def test_rerank_is_sorted_and_in_bounds(api: httpx.Client) -> None:
    body = {
        "model": _RERANKER,
        "query": "How many people live in Berlin?",
        "documents": [
            "New York City is famous for the Metropolitan Museum of Art.",
            "Berlin has a population of 3,520,031 registered inhabitants.",
            "Bananas are yellow.",
        ],
    }
    answer = post(api, "/v2/rerank", body)
    scores = [result["relevance_score"] for result in answer["results"]]
    assert answer["results"][0]["index"] == 1
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert "document" not in answer["results"][0]
    assert answer["meta"]["api_version"] == {"version": "2"}
    assert len(post(api, "/v2/rerank", body | {"top_n": 2})["results"]) == 2


@pytest.mark.parametrize("top_n", [0, -1])
def test_top_n_below_one_is_refused(api: httpx.Client, top_n: int) -> None:
    body = {"model": _RERANKER, "query": "q", "documents": ["d"], "top_n": top_n}
    response = api.post("/v2/rerank", json=body)
    assert response.status_code == 400
    assert "top_n" in response.json()["message"]
