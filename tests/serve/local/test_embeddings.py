"""/v1/embeddings and /v1/models in OpenAI's shapes."""

import base64
import contextlib
import json
import re
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.serve.cluster import Cluster, post

_MODEL = "all-MiniLM-L6-v2"
# Ray gathers the figures of its processes every ten seconds or so.
_GATHERED_S = 40


def embed(api: httpx.Client, given: Any, **more: Any) -> Any:
    return post(api, "/v1/embeddings", {"model": _MODEL, "input": given} | more)


def tokens(answer: Any) -> int:
    total: int = answer["usage"]["total_tokens"]
    return total


def test_a_string_gets_one_unit_vector(api: httpx.Client) -> None:
    answer = embed(api, "hello world")
    assert answer["object"] == "list"
    assert answer["model"] == _MODEL
    [item] = answer["data"]
    assert (item["object"], item["index"]) == ("embedding", 0)
    assert np.linalg.norm(item["embedding"]) == pytest.approx(1, abs=1e-5)
    assert len(item["embedding"]) == 384
    # [CLS] hello world [SEP]
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["total_tokens"]) == (4, 4)


def test_each_text_gets_its_own_vector_in_order(api: httpx.Client) -> None:
    texts = [f"text number {n} about {'cats' if n % 2 else 'tax law'}" for n in range(70)]
    together = [item["embedding"] for item in embed(api, texts)["data"]]
    alone = [embed(api, text)["data"][0]["embedding"] for text in (texts[0], texts[69])]
    assert np.dot(together[0], alone[0]) > 0.99999
    assert np.dot(together[69], alone[1]) > 0.99999
    assert np.dot(together[0], alone[1]) < 0.9


def test_base64_holds_the_same_floats(api: httpx.Client) -> None:
    floats = embed(api, ["one", "two"], encoding_format="float")["data"]
    packed = embed(api, ["one", "two"], encoding_format="base64")["data"]
    for item, coded in zip(floats, packed, strict=True):
        decoded = np.frombuffer(base64.b64decode(coded["embedding"]), "<f4")
        assert np.allclose(decoded, item["embedding"], atol=1e-6)


def test_the_models_own_width_is_accepted_and_no_other(api: httpx.Client) -> None:
    assert len(embed(api, "x", dimensions=384)["data"][0]["embedding"]) == 384
    response = api.post("/v1/embeddings", json={"model": _MODEL, "input": "x", "dimensions": 256})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "dimensions"
    assert "384 only" in response.json()["error"]["message"]


def test_a_blank_text_among_others_gets_a_vector(api: httpx.Client) -> None:
    for item in embed(api, ["a", " ", "\u00a0", "\u200b", "b"])["data"]:
        assert np.linalg.norm(item["embedding"]) == pytest.approx(1, abs=1e-5)


def test_the_hubs_name_is_taken_and_so_is_none(api: httpx.Client) -> None:
    for model in (f"sentence-transformers/{_MODEL}", None):
        assert embed(api, "x", model=model)["model"] == _MODEL


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[1, 2], [3]]])
def test_token_ids_are_refused_with_the_setting_to_change(
    api: httpx.Client, tokens: list[Any]
) -> None:
    response = api.post("/v1/embeddings", json={"model": _MODEL, "input": tokens})
    assert response.status_code == 400
    assert "check_embedding_ctx_length=False" in response.json()["error"]["message"]


def test_a_long_text_is_refused_unless_truncation_is_asked_for(api: httpx.Client) -> None:
    long = "word " * 1_000
    response = api.post("/v1/embeddings", json={"model": _MODEL, "input": long})
    assert response.status_code == 400
    assert "1000 tokens" in response.json()["error"]["message"]
    assert embed(api, long, truncate_prompt_tokens=-1)["usage"]["prompt_tokens"] == 256
    assert embed(api, long, truncate_prompt_tokens=16)["usage"]["prompt_tokens"] == 16


def test_either_end_of_a_long_text_may_be_cut(api: httpx.Client) -> None:
    long = "alpha " * 400 + "omega " * 400
    alpha, omega = (item["embedding"] for item in embed(api, ["alpha " * 9, "omega " * 9])["data"])
    for field, start, end in (("truncate", "END", "START"), ("truncation_side", "right", "left")):
        more = {"truncate_prompt_tokens": 11} if field == "truncation_side" else {}
        head, tail = (
            embed(api, long, **more, **{field: side})["data"][0]["embedding"]
            for side in (start, end)
        )
        assert np.dot(head, alpha) > np.dot(head, omega)
        assert np.dot(tail, omega) > np.dot(tail, alpha)


def test_what_other_vendors_clients_add_is_taken(api: httpx.Client) -> None:
    plain = embed(api, "x")
    harmless = {"user": 7, "drop_params": True, "encoding_format": None}
    answer = api.post("/v1/embeddings", json={"model": _MODEL, "input": "x"} | harmless)
    assert tokens(answer.json()) == tokens(plain)
    assert answer.headers["x-winnow-ignored-fields"] == "drop_params, user"
    assert tokens(embed(api, "x", input_type="query", truncate="END")) == tokens(plain)
    assert tokens(embed(api, "x", task="retrieval.passage")) == tokens(plain)


def test_models_are_listed_and_found(api: httpx.Client) -> None:
    cards = api.get("/v1/models").json()
    assert {card["id"]: card["task"] for card in cards["data"]} == {
        _MODEL: "embed",
        "ms-marco-MiniLM-L-12-v2": "rerank",
    }
    assert api.get(f"/v1/models/{_MODEL}").json()["dimensions"] == 384
    missing = api.get("/v1/models/org/other")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "model_not_found"


def test_a_text_that_comes_again_is_not_computed_again(local: Cluster, api: httpx.Client) -> None:
    def spared(answer: Any) -> int:
        tokens: int = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
        return tokens

    embed(api, "whatever tells the Router which model answers")
    known, new = f"known {uuid.uuid4()}", f"new {uuid.uuid4()}"
    first = embed(api, known)
    assert spared(first) == 0
    again = embed(api, [known, new])
    assert spared(again) == first["usage"]["prompt_tokens"]
    assert again["data"][0]["embedding"] == first["data"][0]["embedding"]
    patterns = [
        r'ray_winnow_tokens_total{[^}]*source="computed"[^}]*} [1-9]',
        r'ray_winnow_tokens_total{[^}]*source="embedding_cache"[^}]*} [1-9]',
        r"ray_winnow_batch_tokens_bucket{",
        r'ray_winnow_tenant_tokens_total{[^}]*cached="yes"[^}]*tenant="default"[^}]*} [1-9]',
    ]
    until = time.monotonic() + _GATHERED_S
    while missing := [one for one in patterns if not re.search(one, _figures(local))]:
        assert time.monotonic() < until, missing
        time.sleep(1)


def _figures(cluster: Cluster) -> str:
    """Metrics that Prometheus would read from every process that answers already."""
    running = cluster.state.running()
    assert running is not None
    targets = Path(running.session_directory, "prom_metrics_service_discovery.json")
    [group] = json.loads(targets.read_text())
    pages = []
    for target in group["targets"]:
        with contextlib.suppress(httpx.TransportError):
            pages.append(httpx.get(f"http://{target}/metrics", trust_env=False).text)
    return "\n".join(pages)
