"""Requests made from a trace, with as many texts and tokens as it says.

No text is sent twice: a cache would answer the second. Knows the wire formats of the four routes;
sends nothing.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import orjson

from loadtest.run.open_loop import Request
from loadtest.traffic import ROUTES, Route, Trace

COLLECTION = "loadtest"

# Each word is one token of BERT and, with a space before it, of Qwen3.
_VOCABULARY = (
    "time year people way day man thing woman life child world school state family student group"
    " country problem hand part place case week company system program question work government"
    " number night point home water room mother area money story fact month lot right study book"
    " eye job word business issue side kind head house service friend father power hour game line"
    " end member law car"
)
_WORDS = _VOCABULARY.split()
_DIGITS = 6
# Prime to the pool's size, so that the steps reach every place in the pool.
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
# Special tokens: [CLS] and [SEP] about a text; a pair has three, of which the query counts two.
_TEXT_SPECIALS, _QUERY_SPECIALS, _DOCUMENT_SPECIALS = 2, 2, 1


class Texts:
    """Texts of a given number of words, each numbered by its first words, so that none repeat.

    Numbers start at `first`: another run with another `first` has other texts. Texts under four
    words repeat after some thousands.
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
    """Makes requests for the served `models`, named by task (`embed`, `rerank`).

    Texts and document ids are numbered from `first`; the time in microseconds is a good one.
    """

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
        """Yield the trace's requests in its order, each made when it is asked for."""
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
        """Make one request. A search ignores `item_tokens`: its candidates were ingested before."""
        if route == "search":
            body = self._search(query_tokens, items)
        elif route == "ingest":
            body = {"documents": self.documents([item_tokens] * items)}
        elif route == "embed":
            body = {
                "input": self._of(items, item_tokens - _TEXT_SPECIALS),
                "encoding_format": "base64",
            }
            body["model"] = self._models[route]
        else:
            body = {"query": self._query(query_tokens), "model": self._models[route]}
            body["documents"] = self._of(items, item_tokens - _DOCUMENT_SPECIALS)
        path = _PATHS[route].format(collection=self.collection)
        return Request(at_s, tenant, route, path, orjson.dumps(body))

    def documents(self, tokens: Sequence[int]) -> list[dict[str, str]]:
        """Make new documents of these numbers of tokens."""
        return [
            {"id": str(next(self._ids)), "text": self._texts.of(count - _TEXT_SPECIALS)}
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
        return self._texts.of(tokens - _QUERY_SPECIALS)

    def _of(self, count: int, words: int) -> list[str]:
        return [self._texts.of(words) for _ in range(count)]
