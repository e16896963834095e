"""Requests for one model stage each, at rates that may change while they are sent."""

import heapq
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any

import orjson

from cluster.stages import ModelStage
from loadtest.run.open_loop import Request

TENANT = "default"

_TEXTS, _WORDS = 8, 100
_DEADLINE_MS = 60_000
# Each of these words is one token to the models of the local profile.
_TEXT = "city " * _WORDS
# Without the query and the special tokens.
REQUEST_TOKENS = _TEXTS * _WORDS

_REQUESTS: dict[ModelStage, tuple[str, dict[str, Any]]] = {
    "embed": ("/v1/embeddings", {"model": "all-MiniLM-L6-v2", "input": [_TEXT] * _TEXTS}),
    "rerank": ("/v1/rerank", {"query": "river", "documents": [_TEXT] * _TEXTS}),
}


def requests_at(tokens_per_s: Mapping[ModelStage, float]) -> Iterator[Request]:
    """Yield requests of REQUEST_TOKENS each, without end, in order of time.

    `tokens_per_s`, above 0 for each stage, is read again for every request.
    """
    return heapq.merge(*(_of(one, tokens_per_s) for one in tokens_per_s), key=attrgetter("at_s"))


def _of(stage: ModelStage, tokens_per_s: Mapping[ModelStage, float]) -> Iterator[Request]:
    path, body = _REQUESTS[stage]
    request = orjson.dumps(body | {"deadline_ms": _DEADLINE_MS})
    at_s = 0.0
    while True:
        yield Request(at_s, TENANT, stage, path, request)
        at_s += REQUEST_TOKENS / tokens_per_s[stage]
