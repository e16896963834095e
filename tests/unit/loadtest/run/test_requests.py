"""Requests made from a trace: the service accepts them, and they have the trace's tokens."""

import json
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from tokenizers import Tokenizer

from deployments.web.dialects.jina import RerankRequest
from deployments.web.dialects.openai import EmbeddingsRequest
from deployments.web.schemas import SearchRequest, UpsertRequest
from loadtest.run.open_loop import Request
from loadtest.run.requests import Requests, Texts
from loadtest.traffic import ROUTES, Lengths, RequestKind, Tenant, Trace, Traffic, generate
from tests.models import model_directory

_MODELS = {"embed": "all-MiniLM-L6-v2", "rerank": "ms-marco-MiniLM-L-12-v2"}
_BODIES: dict[str, type[BaseModel]] = {
    "search": SearchRequest,
    "embed": EmbeddingsRequest,
    "rerank": RerankRequest,
    "ingest": UpsertRequest,
}


@pytest.fixture
def trace() -> Trace:
    mix = tuple(
        RequestKind(
            route=route, share=1, items=5, item=Lengths(median=30), query=Lengths(median=12)
        )
        for route in ROUTES
    )
    tenants = (Tenant(name="a"), Tenant(name="b"))
    return generate(Traffic(duration_s=20, requests_per_s=10, tenants=tenants, mix=mix), seed=1)


def made(trace: Trace, first: int = 0) -> list[tuple[Request, Any]]:
    requests = Requests(_MODELS, first, collection="here")
    return [(one, json.loads(one.body)) for one in requests.of(trace)]


def tokenizer(task: str) -> Tokenizer:
    return Tokenizer.from_file(str(model_directory(_MODELS[task]) / "tokenizer.json"))


def texts_of(body: Any) -> list[str]:
    query = [body["query"]] if "query" in body else []
    documents = [one["text"] if isinstance(one, dict) else one for one in body.get("documents", [])]
    return [*query, *documents, *body.get("input", [])]


def test_each_is_a_body_that_its_route_takes(trace: Trace) -> None:
    requests = made(trace)
    assert {one.route for one, _ in requests} == set(ROUTES)
    assert [one.at_s for one, _ in requests] == trace.at_s.tolist()
    assert [one.tenant for one, _ in requests] == [trace.names[n] for n in trace.tenants]
    for one, _ in requests:
        _BODIES[one.route].model_validate_json(one.body)
    paths = {one.path for one, _ in requests if one.route == "ingest"}
    assert paths == {"/v1/collections/here/documents"}


def test_texts_have_as_many_tokens_as_the_trace_says(trace: Trace) -> None:
    embed, rerank = tokenizer("embed"), tokenizer("rerank")
    embed_tokens, rerank_tokens = trace.tokens()
    for number, (one, body) in enumerate(made(trace)):
        if one.route == "rerank":
            pairs = [(body["query"], document) for document in body["documents"]]
            found = sum(len(pair.ids) for pair in rerank.encode_batch(pairs))
            assert found == rerank_tokens[number]
        else:
            found = sum(len(text.ids) for text in embed.encode_batch(texts_of(body)))
            assert found == embed_tokens[number]
        if one.route == "search":
            assert body["top_k"] == trace.items[number]


def test_no_text_is_sent_twice_in_a_run_nor_by_the_next(trace: Trace) -> None:
    now, later = (
        [text for _, body in made(trace, first) for text in texts_of(body)]
        for first in (1_764_000_000_000_000, 1_764_000_060_000_000)
    )
    assert len(set(now) | set(later)) == len(now) + len(later)


def test_texts_begin_unlike_one_another() -> None:
    """A prefix cache would otherwise answer a part of them."""
    texts = Texts(0)
    begins = {tuple(texts.of(40).split()[:3]) for _ in range(50_000)}
    assert len(begins) == 50_000


def test_a_word_is_a_token_of_qwen3_as_well() -> None:
    qwen = Tokenizer.from_file(str(model_directory("tiny-qwen3-embedding") / "tokenizer.json"))
    text = Texts(0).of(2_000)
    assert len(qwen.encode(text, add_special_tokens=False).ids) == 2_000


def test_documents_are_new_ones(trace: Trace) -> None:
    upserts = [body["documents"] for one, body in made(trace) if one.route == "ingest"]
    ids = [document["id"] for documents in upserts for document in documents]
    assert len(set(ids)) == len(ids) == int(np.sum(trace.items[trace.is_route("ingest")]))
