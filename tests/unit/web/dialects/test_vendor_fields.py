"""Fields that vendors' clients send: implemented, harmless, or refused with the reason."""

from typing import Any

import pytest

from deployments.text.prompts import Cut
from tests.unit.service import TestService

_EMBEDDINGS = {"model": "embedder", "input": "x"}
_EMBED = {"model": "embedder", "texts": ["x"], "input_type": "search_document"}
_RERANK = {"model": "reranker", "query": "q", "documents": ["a", "b", "c"]}
_BODIES: dict[str, dict[str, Any]] = {
    "/v1/embeddings": _EMBEDDINGS,
    "/v2/embed": _EMBED,
    "/v1/rerank": _RERANK,
    "/v2/rerank": _RERANK,
}


@pytest.mark.parametrize("path", _BODIES)
@pytest.mark.parametrize(
    "field", [{"user": "u"}, {"request_id": "r"}, {"priority": -1}, {"priority": None}], ids=str
)
async def test_what_changes_nothing_is_accepted(
    service: TestService, path: str, field: dict[str, Any]
) -> None:
    answer = await service.post(path, json=_BODIES[path] | field)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/embeddings", {"encoding_format": None, "dimensions": None}),
        ("/v1/embeddings", {"add_special_tokens": True, "embed_dtype": "float32"}),
        ("/v2/embed", {"embedding_types": None, "truncate": None, "max_tokens": None}),
        ("/v1/rerank", {"max_chunks_per_doc": 10, "rank_fields": None}),
        ("/v1/rerank", {"rank_fields": ["text"], "raw_scores": False}),
        ("/v1/rerank", {"truncate_prompt_tokens": -1, "truncation": True}),
        ("/v1/rerank", {"return_documents": None, "top_n": None, "max_tokens_per_doc": None}),
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
        ("/v2/embed", {"truncate": "NONE", "max_tokens": 9}, "give one of them"),
        ("/v2/embed", {"texts": None}, "either texts or inputs"),
        ("/v2/embed", {"inputs": [{"content": [{"type": "text", "text": "x"}]}]}, "either texts"),
        ("/v2/embed", {"inputs": [{"content": [{"type": "image_url"}]}]}, "should be 'text'"),
        ("/v1/rerank", {"raw_scores": True}, "relevances in [0, 1]"),
        ("/v1/rerank", {"rank_fields": ["title"]}, "a document has no other"),
        ("/v1/rerank", {"truncation": False}, "too long is cut"),
        ("/v1/rerank", {"truncate_prompt_tokens": 64}, "max_tokens_per_doc"),
        ("/v2/rerank", {"max_chunks_per_doc": 1}, "'max_chunks_per_doc' is not a field"),
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
        ("/v1/embeddings", {"truncate": "NONE"}, None),
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
