"""Fields that vendors' clients send: implemented, ignored and named, or refused with the reason."""

from typing import Any

import pytest

from deployments.text.prompts import Cut
from tests.unit.service import TestService

pytestmark = pytest.mark.asyncio(loop_scope="module")

_EMBEDDINGS = {"model": "embedder", "input": "x"}
_EMBED = {"model": "embedder", "texts": ["x"], "input_type": "search_document"}
_RERANK = {"model": "reranker", "query": "q", "documents": ["a", "b", "c"]}
_BODIES: dict[str, dict[str, Any]] = {
    "/v1/embeddings": _EMBEDDINGS,
    "/embeddings": _EMBEDDINGS,
    "/infinity/embeddings": _EMBEDDINGS,
    "/openai/deployments/embedder/embeddings": _EMBEDDINGS,
    "/v1/embed": _EMBED,
    "/v2/embed": _EMBED,
    "/v1/rerank": _RERANK,
    "/rerank": _RERANK,
    "/infinity/rerank": _RERANK,
    "/v2/rerank": _RERANK,
}


@pytest.mark.parametrize("path", _BODIES)
async def test_what_is_not_known_is_ignored_and_named(service: TestService, path: str) -> None:
    plain = await service.post(path, json=_BODIES[path])
    unknown = {"user": 7, "priority": None, "drop_params": True, "request_id": "r"}
    answer = await service.post(path, json=_BODIES[path] | unknown)
    assert answer.status_code == 200, answer.text
    assert answer.json() | {"id": None} == plain.json() | {"id": None}
    assert answer.headers["x-winnow-ignored-fields"] == "drop_params, request_id, user"
    assert "x-winnow-ignored-fields" not in plain.headers


async def test_the_header_of_ignored_fields_is_short_and_safe(service: TestService) -> None:
    odd = {"a\r\nset-cookie: b": 1, "é": 1} | {f"field-{n:03}-{'x' * 99}": n for n in range(400)}
    answer = await service.post("/v1/embeddings", json=_EMBEDDINGS | odd)
    assert answer.status_code == 200
    named = answer.headers["x-winnow-ignored-fields"]
    assert len(named) < 600
    assert named.startswith("a??set-cookie??b, field-000-x")
    assert named.endswith(", ...")


@pytest.mark.parametrize("path", _BODIES)
@pytest.mark.parametrize("model", [None, "", "default/not-specified"])
async def test_the_only_model_answers_where_none_is_named(
    service: TestService, path: str, model: str | None
) -> None:
    answer = await service.post(path, json=_BODIES[path] | {"model": model})
    assert answer.status_code == 200, answer.text


async def test_a_model_is_found_by_its_alias(service: TestService) -> None:
    answer = await service.post("/v1/embeddings", json=_EMBEDDINGS | {"model": "hub/embedder"})
    assert answer.json()["model"] == "embedder"
    answer = await service.post("/v1/rerank", json=_RERANK | {"model": "hub/reranker"})
    assert answer.json()["model"] == "reranker"
    card = await service.send("GET", "/v1/models/hub/embedder")
    assert card.json()["id"] == "embedder"
    listed = (await service.send("GET", "/v1/models")).json()["data"]
    assert [card["id"] for card in listed] == ["embedder", "reranker"]


async def test_azure_names_the_model_in_the_path_and_the_key_in_a_header(
    service: TestService,
) -> None:
    path = "/openai/deployments/{}/embeddings?api-version=2024-10-21"
    headers = {"authorization": "", "api-key": service.key}
    for name in ("embedder", "hub/embedder"):
        body = {"input": "x", "model": "anything"}
        answer = await service.post(path.format(name), json=body, headers=headers)
        assert answer.status_code == 200, answer.text
    wrong = await service.post(path.format("gpt"), json=_EMBEDDINGS, headers=headers)
    assert wrong.status_code == 404
    nobody = headers | {"api-key": "wn_live_nobody"}
    refused = await service.post(path.format("embedder"), json=_EMBEDDINGS, headers=nobody)
    assert refused.status_code == 401


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/embeddings", {"encoding_format": None, "dimensions": None}),
        ("/v1/embeddings", {"encoding_format": "", "dimensions": 0, "output_dimension": 0}),
        ("/v1/embeddings", {"dimensions": "2"}),
        ("/v1/embeddings", {"late_chunking": False, "normalized": True, "truncate": True}),
        ("/v1/embeddings", {"return_multivector": False, "modality": "text", "messages": []}),
        ("/v1/embeddings", {"embedding_type": "float"}),
        ("/v1/embeddings", {"encoding_type": "float"}),
        ("/v1/embeddings", {"output_dtype": "float", "output_dimension": 2, "truncation": True}),
        ("/v1/embeddings", {"input_type": "document"}),
        ("/v1/embeddings", {"input": [{"text": "x"}]}),
        ("/v1/embeddings", {"input": {"text": "x"}}),
        ("/v1/embed", {"embedding_types": None, "truncate": "end", "images": None}),
        ("/v1/embeddings", {"add_special_tokens": True, "embed_dtype": "float32"}),
        ("/v2/embed", {"embedding_types": None, "truncate": None, "max_tokens": None}),
        ("/v1/rerank", {"max_chunks_per_doc": 10, "rank_fields": None}),
        ("/v1/rerank", {"rank_fields": ["text"], "return_documents": "true", "top_n": 3.0}),
        ("/v1/rerank", {"truncate_prompt_tokens": -1}),
        ("/v1/rerank", {"return_documents": None, "top_n": None, "max_tokens_per_doc": None}),
        ("/v2/rerank", {"return_documents": False, "rank_fields": None}),
    ],
)
async def test_null_and_what_happens_anyway_are_accepted(
    service: TestService, path: str, fields: dict[str, Any]
) -> None:
    plain = (await service.post(path, json=_BODIES[path])).json()
    answer = (await service.post(path, json=_BODIES[path] | fields)).json()
    assert answer | {"id": None} == plain | {"id": None}


@pytest.mark.parametrize(
    ("path", "field", "reason"),
    [
        ("/v1/embeddings", {"add_special_tokens": False}, "'add_special_tokens': must be true"),
        ("/v1/embeddings", {"embed_dtype": "float16"}, "'embed_dtype': must be \"float32\""),
        ("/v1/embeddings", {"task": "text-matching"}, "'retrieval.query' or 'retrieval.passage'"),
        ("/v1/embeddings", {"truncate_prompt_tokens": 0}, "at least 1, or -1"),
        (
            "/v1/embeddings",
            {"truncate": "NONE", "truncate_prompt_tokens": 9},
            "either truncate or truncate_prompt_tokens",
        ),
        (
            "/v1/embeddings",
            {"input_type": "query", "task": "retrieval.passage"},
            "either input_type or task",
        ),
        ("/v1/embeddings", {"truncate": "END", "truncation": True}, "truncate or truncation"),
        ("/v1/embeddings", {"late_chunking": True}, "on its own"),
        ("/v1/embeddings", {"normalized": False}, "unit length"),
        ("/v1/embeddings", {"return_multivector": True}, "one vector"),
        ("/v1/embeddings", {"messages": [{"role": "user"}]}, "send texts as input"),
        ("/v1/embeddings", {"prompt": "query: "}, 'say input_type "query"'),
        ("/v1/embeddings", {"input": [{"text": "x", "image": "http://x"}]}, "only texts"),
        ("/v1/embeddings", {"input": [{"image": "http://x"}]}, "'input.0.text': Field required"),
        ("/v1/embed", {"images": ["data:"]}, "only texts"),
        ("/v1/rerank", {"instruction": "a", "instruct": "b"}, "either instruction or instruct"),
        ("/v1/rerank", {"instruction": " "}, "'instruction'"),
        (
            "/v1/rerank",
            {"chat_template_kwargs": {"instruction": "Judge."}},
            "send an 'instruction'",
        ),
        ("/v1/rerank", {"top_n": 1, "top_k": 2}, "either top_n or top_k"),
        ("/v1/rerank", {"documents": ["a", {"title": "b"}]}, "'documents.1' has no field text"),
        ("/v2/embed", {"truncate": "NONE", "max_tokens": 9}, "give one of them"),
        ("/v2/embed", {"texts": None}, "either texts or inputs"),
        ("/v2/embed", {"inputs": [{"content": [{"type": "text", "text": "x"}]}]}, "either texts"),
        ("/v2/embed", {"inputs": [{"content": [{"type": "image_url"}]}]}, "should be 'text'"),
        ("/v1/rerank", {"raw_scores": True}, "relevances in [0, 1]"),
        ("/v1/rerank", {"truncation": False}, "too long is cut"),
        ("/v1/rerank", {"truncate_prompt_tokens": 64}, "max_tokens_per_doc"),
    ],
)
async def test_what_would_change_the_answer_is_refused(
    service: TestService, path: str, field: dict[str, Any], reason: str
) -> None:
    answer = await service.post(path, json=_BODIES[path] | field)
    assert answer.status_code == 400
    body = answer.json()
    assert reason in body.get("error", body)["message"]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, "documents"),
        ({"input_type": "passage"}, "documents"),
        ({"input_type": "document"}, "documents"),
        ({"input_type": "query"}, "queries"),
        ({"task": "retrieval.passage"}, "documents"),
        ({"task": "retrieval.query"}, "queries"),
    ],
)
async def test_a_query_is_what_is_called_one(
    service: TestService, fields: dict[str, str], kind: str
) -> None:
    await service.post("/v1/embeddings", json=_EMBEDDINGS | fields)
    assert service.pipeline.asked == (kind, ["x"], None)


@pytest.mark.parametrize(
    ("path", "fields", "cut"),
    [
        ("/v1/embeddings", {}, None),
        ("/v1/embeddings", {"truncate": "NONE"}, None),
        ("/v1/embeddings", {"truncate": True}, Cut()),
        ("/v1/embeddings", {"truncate": "false"}, None),
        ("/v1/embeddings", {"truncation": True}, Cut()),
        ("/v1/embeddings", {"truncation": False}, None),
        ("/v1/embeddings", {"truncate": "END"}, Cut()),
        ("/v1/embeddings", {"truncate": "START"}, Cut(keep="end")),
        ("/v1/embeddings", {"truncation_side": "left"}, None),
        ("/v1/embeddings", {"truncate_prompt_tokens": -1}, Cut()),
        (
            "/v1/embeddings",
            {"truncate_prompt_tokens": 9, "truncation_side": "left"},
            Cut(9, keep="end"),
        ),
        (
            "/v1/embeddings",
            {"truncate_prompt_tokens": 9, "truncation_side": "right"},
            Cut(9),
        ),
        ("/v1/embed", {}, Cut()),
        ("/v1/embed", {"truncate": "NONE"}, None),
        ("/v2/embed", {}, Cut()),
        ("/v2/embed", {"truncate": "NONE"}, None),
        ("/v2/embed", {"truncate": "START", "max_tokens": 9}, Cut(9, keep="end")),
    ],
)
async def test_texts_are_cut_as_asked(
    service: TestService, path: str, fields: dict[str, Any], cut: Cut | None
) -> None:
    await service.post(path, json=_BODIES[path] | fields)
    assert service.pipeline.asked == ("documents", ["x"], cut)


async def test_cohere_inputs_are_texts(service: TestService) -> None:
    inputs = [{"content": [{"type": "text", "text": text}]} for text in ("a", "b")]
    body = _EMBED | {"texts": None, "inputs": inputs, "input_type": "search_query"}
    answer = (await service.post("/v2/embed", json=body)).json()
    assert service.pipeline.asked == ("queries", ["a", "b"], Cut())
    assert answer["texts"] == ["a", "b"]
    assert len(answer["embeddings"]["float"]) == 2


@pytest.mark.parametrize(
    ("path", "fields", "limit"),
    [
        ("/v1/rerank", {}, None),
        ("/v1/rerank", {"max_tokens_per_doc": 0}, None),
        ("/v1/rerank", {"max_tokens_per_doc": 7}, 7),
        ("/v2/rerank", {}, 4096),
        ("/v2/rerank", {"max_tokens_per_doc": 7}, 7),
    ],
)
async def test_documents_are_cut_as_asked(
    service: TestService, path: str, fields: dict[str, Any], limit: int | None
) -> None:
    await service.post(path, json=_RERANK | fields)
    assert service.pipeline.asked == ("q", ["a", "b", "c"], limit)


@pytest.mark.parametrize(("top_n", "results"), [(None, 3), (0, 3), (2, 2), (9, 3)])
async def test_top_n_of_nothing_means_all(
    service: TestService, top_n: int | None, results: int
) -> None:
    answer = (await service.post("/v1/rerank", json=_RERANK | {"top_n": top_n})).json()
    assert len(answer["results"]) == results
