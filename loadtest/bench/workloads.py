"""What is sent: real sentences of a fixed number of tokens, no two requests of a run alike.

Knows the wire formats that all servers under test share, and no server.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

Kind = Literal["embed", "rerank"]

# What a client gets when it changes nothing: the OpenAI SDK asks for base64.
_ENCODING = "base64"


@dataclass(frozen=True, slots=True)
class Workload:
    """`rows` texts or documents a request, over `connections` that each wait for their answer."""

    kind: Kind
    rows: int
    connections: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.rows}"


WORKLOADS = [
    Workload("embed", 1, 32),
    Workload("embed", 32, 8),
    Workload("embed", 256, 4),
    Workload("rerank", 10, 8),
    Workload("rerank", 100, 4),
]

EMBED_TOKENS = 29
PAIR_TOKENS = 46
_QUERY_TOKENS = 12


class Texts:
    """Pieces of a corpus (JSON lines with `text`), cut to a number of tokens."""

    def __init__(self, tokenizer_file: Path, corpus: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer_file))
        self._corpus = [json.loads(line)["text"] for line in corpus.read_text().splitlines()]
        self._cut: dict[int, list[str]] = {}

    def of(self, tokens: int) -> Iterator[str]:
        """Texts of `tokens` tokens without special ones; begins again when all were given."""
        if tokens not in self._cut:
            self._cut[tokens] = self._pieces(tokens)
        return itertools.cycle(self._cut[tokens])

    def _pieces(self, tokens: int) -> list[str]:
        pieces: list[str] = []
        encodings = self._tokenizer.encode_batch(self._corpus, add_special_tokens=False)
        for text, encoding in zip(self._corpus, encodings, strict=True):
            offsets = encoding.offsets
            for first in range(0, len(offsets) - tokens, tokens):
                pieces.append(text[offsets[first][0] : offsets[first + tokens - 1][1]])
        return pieces


def bodies(workload: Workload, model: str, texts: Texts, requests: int) -> list[str]:
    """JSON bodies of `requests` different requests."""
    if workload.kind == "embed":
        inputs = texts.of(EMBED_TOKENS - 2)
        return [
            json.dumps(
                {
                    "model": model,
                    "input": _take(inputs, workload.rows),
                    "encoding_format": _ENCODING,
                }
            )
            for _ in range(requests)
        ]
    queries, documents = texts.of(_QUERY_TOKENS), texts.of(PAIR_TOKENS - 3 - _QUERY_TOKENS)
    return [
        json.dumps(
            {"model": model, "query": next(queries), "documents": _take(documents, workload.rows)}
        )
        for _ in range(requests)
    ]


def _take(texts: Iterator[str], count: int) -> list[str]:
    return list(itertools.islice(texts, count))
