"""The benchmark's requests: real text of a fixed number of tokens, no two requests alike.

Knows the wire formats that all servers under test share; no server.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer

_LARGE_ROWS = 100
# Overlapping texts differ for a cache, and a corpus has three times as many of them.
_OVERLAPS = 3

Kind = Literal["embed", "rerank", "search"]

# The OpenAI SDK's default.
_ENCODING = "base64"


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests of `rows` texts, documents or candidates, over `connections` in a closed loop."""

    kind: Kind
    rows: int
    connections: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.rows}"

    @property
    def slowness(self) -> int:
        """Factor on the length of a run: large requests are few, and counted coarsely."""
        return 3 if self.rows >= _LARGE_ROWS else 1


WORKLOADS = [
    Workload("embed", 1, 32),
    Workload("embed", 32, 8),
    Workload("embed", 256, 4),
    Workload("rerank", 10, 8),
    Workload("rerank", 100, 4),
    Workload("search", 20, 8),
]

EMBED_TOKENS = 29
PAIR_TOKENS = 46
_QUERY_TOKENS = 12
_DOCUMENT_TOKENS = PAIR_TOKENS - 3 - _QUERY_TOKENS

COLLECTION = "bench"
_TOP_N = 5


class Texts:
    """Texts of a given number of tokens, cut from a corpus (JSON lines with `text`)."""

    def __init__(self, tokenizer_file: Path, corpus: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer_file))
        self._corpus = [json.loads(line)["text"] for line in corpus.read_text().splitlines()]
        self._left: dict[int, Iterator[str]] = {}

    def of(self, tokens: int) -> Iterator[str]:
        """Iterate over texts of `tokens` tokens, special tokens not counted.

        Calls share one iterator, so none gets another's texts; it starts over when all are used.
        """
        if tokens not in self._left:
            self._left[tokens] = itertools.cycle(self._pieces(tokens))
        return self._left[tokens]

    def _pieces(self, tokens: int) -> list[str]:
        pieces: list[str] = []
        encodings = self._tokenizer.encode_batch(self._corpus, add_special_tokens=False)
        for text, encoding in zip(self._corpus, encodings, strict=True):
            offsets = encoding.offsets
            for first in range(0, len(offsets) - tokens, tokens // _OVERLAPS):
                pieces.append(text[offsets[first][0] : offsets[first + tokens - 1][1]])
        return pieces


def documents(texts: Texts, count: int) -> list[str]:
    """Make `count` documents to search: JSON lines with `id` and `text`."""
    found = _take(texts.of(_DOCUMENT_TOKENS), count)
    return [json.dumps({"id": str(id), "text": text}) for id, text in enumerate(found)]


def bodies(workload: Workload, model: str, texts: Texts, requests: int) -> list[str]:
    """Make the JSON bodies of `requests` different requests."""
    make = {"embed": _embed_body, "rerank": _rerank_body, "search": _search_body}[workload.kind]
    return [json.dumps(make(workload.rows, model, texts)) for _ in range(requests)]


def _embed_body(rows: int, model: str, texts: Texts) -> dict[str, Any]:
    inputs = _take(texts.of(EMBED_TOKENS - 2), rows)
    return {"model": model, "input": inputs, "encoding_format": _ENCODING}


def _rerank_body(rows: int, model: str, texts: Texts) -> dict[str, Any]:
    [query] = _take(texts.of(_QUERY_TOKENS), 1)
    return {"model": model, "query": query, "documents": _take(texts.of(_DOCUMENT_TOKENS), rows)}


def _search_body(rows: int, model: str, texts: Texts) -> dict[str, Any]:  # noqa: ARG001
    [query] = _take(texts.of(_QUERY_TOKENS), 1)
    return {"collection": COLLECTION, "query": query, "top_k": rows, "top_n": _TOP_N}


def _take(texts: Iterator[str], count: int) -> list[str]:
    return list(itertools.islice(texts, count))
