"""Work for each stage on its own. How much of it may change at any time."""

import heapq
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any

import orjson

from loadtest.run.open_loop import Request
from loadtest.scaled import Stage

TENANT = "default"

_TEXTS, _WORDS = 8, 100
_DEADLINE_MS = 60_000
# Each of these words is one token to the models of the local profile.
_TEXT = "city " * _WORDS
# The query and the special tokens left aside.
REQUEST_TOKENS = _TEXTS * _WORDS

_REQUESTS: dict[Stage, tuple[str, dict[str, Any]]] = {
    "embed": ("/v1/embeddings", {"model": "all-MiniLM-L6-v2", "input": [_TEXT] * _TEXTS}),
    "rerank": ("/v1/rerank", {"query": "river", "documents": [_TEXT] * _TEXTS}),
}


def requests_at(tokens_per_s: Mapping[Stage, float]) -> Iterator[Request]:
    """Without end, each of REQUEST_TOKENS. `tokens_per_s` is what to send, by stage, above 0, and
    is looked at anew for every request."""
    return heapq.merge(*(_of(one, tokens_per_s) for one in tokens_per_s), key=attrgetter("at_s"))


def _of(stage: Stage, tokens_per_s: Mapping[Stage, float]) -> Iterator[Request]:
    path, body = _REQUESTS[stage]
    request = orjson.dumps(body | {"deadline_ms": _DEADLINE_MS})
    at_s = 0.0
    while True:
        yield Request(at_s, TENANT, stage, path, request)
        at_s += REQUEST_TOKENS / tokens_per_s[stage]
