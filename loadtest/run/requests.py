"""Requests as Winnow takes them, made from a trace: of as many texts and tokens as it says.

No text is sent twice, since a cache would answer for a stage. Knows the wire formats of the four
routes; sends nothing.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import orjson

from loadtest.run.open_loop import Request
from loadtest.traffic import ROUTES, Route, Trace

COLLECTION = "loadtest"

# Each is one token of BERT's vocabulary and, with a space before it, of Qwen3's.
_VOCABULARY = (
    "time year people way day man thing woman life child world school state family student group"
    " country problem hand part place case week company system program question work government"
    " number night point home water room mother area money story fact month lot right study book"
    " eye job word business issue side kind head house service friend father power hour game line"
    " end member law car"
)
_WORDS = _VOCABULARY.split()
_DIGITS = 6
# Prime, so that as many steps of it as there are texts end on every one of them.
_STRIDE = 48_271
_POOL = 65_521
_LONGEST = 8_192
_TOP_N = 10
_PATHS: dict[Route, str] = {
    "search": "/v1/search",
    "embed": "/v1/embeddings",
    "rerank": "/v1/rerank",
    "ingest": "/v1/collections/{collection}/documents",
}
# [CLS] and [SEP] about a text; of a pair, a query has two of its three.
_OF_A_TEXT, _OF_A_QUERY, _OF_A_DOCUMENT = 2, 2, 1


class Texts:
    """Texts of a number of words, no two alike nor beginning alike: the first words count.

    They count from `first`, so that a service that runs on gets others from the next run.
    Texts under four words come again after some thousands.
    """

    def __init__(self, first: int) -> None:
        self._numbers = itertools.count(first)
        self._pool = random.Random(0).choices(_WORDS, k=_POOL + _LONGEST)

    def of(self, words: int) -> str:
        number = next(self._numbers) * _STRIDE
        digits = [_WORDS[number // len(_WORDS) ** n % len(_WORDS)] for n in range(_DIGITS)]
        at = number % _POOL
        return " ".join((digits + self._pool[at : at + words])[: max(1, words)])


class Requests:
    """`models` are the names of the served models by task, `embed` and `rerank`; texts and
    documents are counted from `first`, for which the time in microseconds will do."""

    def __init__(
        self,
        models: Mapping[str, str],
        first: int,
        *,
        collection: str = COLLECTION,
        on_timeout: Literal["error", "retrieval_order"] = "error",
    ) -> None:
        self.collection = collection
        self._models = models
        self._texts = Texts(first)
        self._ids = itertools.count(first)
        self._on_timeout = on_timeout

    def of(self, trace: Trace) -> Iterator[Request]:
        """One after another, in the trace's order, each made when it is asked for."""
        for n in range(len(trace)):
            yield self.one(
                float(trace.at_s[n]),
                trace.names[trace.tenants[n]],
                ROUTES[trace.routes[n]],
                int(trace.query_tokens[n]),
                int(trace.items[n]),
                int(trace.item_tokens[n]),
            )

    def one(
        self,
        at_s: float,
        tenant: str,
        route: Route,
        query_tokens: int,
        items: int,
        item_tokens: int,
    ) -> Request:
        """How long the candidates of a search are is what was ingested, not `item_tokens`."""
        if route == "search":
            body = self._search(query_tokens, items)
        elif route == "ingest":
            body = {"documents": self.documents([item_tokens] * items)}
        elif route == "embed":
            body = {"input": self._of(items, item_tokens - _OF_A_TEXT), "encoding_format": "base64"}
            body["model"] = self._models[route]
        else:
            body = {"query": self._query(query_tokens), "model": self._models[route]}
            body["documents"] = self._of(items, item_tokens - _OF_A_DOCUMENT)
        path = _PATHS[route].format(collection=self.collection)
        return Request(at_s, tenant, route, path, orjson.dumps(body))

    def documents(self, tokens: Sequence[int]) -> list[dict[str, str]]:
        """New ones of so many tokens each."""
        return [
            {"id": str(next(self._ids)), "text": self._texts.of(count - _OF_A_TEXT)}
            for count in tokens
        ]

    def _search(self, query_tokens: int, top_k: int) -> dict[str, Any]:
        return {
            "collection": self.collection,
            "query": self._query(query_tokens),
            "top_k": top_k,
            "top_n": min(top_k, _TOP_N),
            "on_timeout": self._on_timeout,
        }

    def _query(self, tokens: int) -> str:
        return self._texts.of(tokens - _OF_A_QUERY)

    def _of(self, count: int, words: int) -> list[str]:
        return [self._texts.of(words) for _ in range(count)]
