"""Text to token ids, once, at the edge: exact counts for limits, usage, truncation and batching.

The only module that imports the tokenizer libraries. It works in batches through the Rust
tokenizer, which releases the GIL, and keeps long work off the event loop. Knows no engine.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from deployments.errors import InvalidRequest
from deployments.rows.token_rows import TokenRows
from deployments.text import stored_tokens as document_tokens
from deployments.text.prompts import Cut, EmbedTemplate, RerankTemplate

# A text that will be cut is read this far at first: hardly any token is longer on average.
_CHARACTERS_A_TOKEN = 16
# About, for what may be refused before it is read.
_MEAN_CHARACTERS_A_TOKEN = 4
# Below this many characters a hop to another thread costs more than the work (about 0.1 ms).
_CHARACTERS_ON_LOOP = 2_000

T = TypeVar("T")


def load_tokenizer(directory: Path) -> Tokenizer:
    """The Rust tokenizer of a model directory, without padding or truncation."""
    file = directory / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file)) if file.is_file() else _converted(directory)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _converted(directory: Path) -> Tokenizer:
    """Of a directory that has an older form of the vocabulary only."""
    # It brings torch: seconds, and some hundred MB, that a Router need not have.
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory).backend_tokenizer


class _Pieces:
    """Encodes a template's fixed pieces with, and the user's text without, special tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def fixed(self, piece: str) -> list[int]:
        self._tokenizer.encode_special_tokens = False
        ids: list[int] = self._tokenizer.encode(piece, add_special_tokens=False).ids
        self._tokenizer.encode_special_tokens = True
        return ids

    def texts(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def beginnings(self, texts: Sequence[str], tokens: int) -> list[list[int]]:
        """At least the first `tokens` of each text, without reading all of a book."""
        most = tokens * _CHARACTERS_A_TOKEN
        rows = self.texts([_beginning(text, most) for text in texts])
        for index, (text, row) in enumerate(zip(texts, rows, strict=True)):
            if len(text) > most and len(row) < tokens:
                [rows[index]] = self.texts([text])
        return rows

    def tokens_before(self, text: str, character: int) -> int:
        """How many tokens of `text` begin before `character`."""
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return sum(start < character for start, _ in offsets)


def _beginning(text: str, most: int) -> str:
    """At most `most` characters, or all of it where no space lies near to cut at: only there do
    the tokens before the cut not depend on what comes after."""
    if len(text) <= most:
        return text
    end = max(text.rfind(space, most // 2, most) for space in " \n")
    return text[:end].rstrip() if end >= 0 else text


class EmbedEncoder:
    """Texts to rows for an embedder: prefix + text + suffix, at most `max_model_len` tokens.

    With no `cut`, a text that is too long raises InvalidRequest.
    """

    def __init__(self, tokenizer: Tokenizer, template: EmbedTemplate, max_model_len: int) -> None:
        self._pieces = _Pieces(tokenizer)
        self._template = template
        self._prefix = self._pieces.fixed(template.prefix)
        self._suffix = self._pieces.fixed(template.suffix)
        self._fixed_tokens = len(self._prefix) + len(self._suffix)
        self._max_model_len = max_model_len

    def queries(self, texts: Sequence[str], cut: Cut | None) -> TokenRows:
        """Only the query is cut, never its instruction."""
        starts = self._template.query_starts()
        return self._rows([self._template.query_text(text) for text in texts], cut, starts)

    def documents(self, texts: Sequence[str], cut: Cut | None) -> TokenRows:
        return self._rows(texts, cut, 0)

    def about_tokens(self, texts: Sequence[str]) -> float:
        return sum(_about_tokens(len(text), self._max_model_len) for text in texts)

    def _rows(self, texts: Sequence[str], cut: Cut | None, starts: int) -> TokenRows:
        room = self._max_model_len - self._fixed_tokens
        if cut is None:
            rows = self._pieces.texts(texts)
            self._refuse_long(rows, room)
        else:
            if cut.max_tokens is not None:
                room = max(1, min(room, cut.max_tokens - self._fixed_tokens))
            if cut.keep == "start":
                rows = self._pieces.beginnings(texts, room)
            else:
                rows = self._pieces.texts(texts)
            rows = [
                row if len(row) <= room else self._shorten(row, text, room, cut.keep, starts)
                for row, text in zip(rows, texts, strict=True)
            ]
        if not self._fixed_tokens:
            _refuse_empty(rows)
        return TokenRows.pack([self._prefix + row + self._suffix for row in rows])

    def _shorten(
        self, row: list[int], text: str, room: int, keep: Literal["start", "end"], starts: int
    ) -> list[int]:
        head = self._pieces.tokens_before(text, starts) if starts else 0
        left = max(1, room - head)
        asked = row[head:]
        return row[:head] + (asked[:left] if keep == "start" else asked[-left:])

    def _refuse_long(self, rows: Sequence[Sequence[int]], room: int) -> None:
        for index, row in enumerate(rows):
            if len(row) > room:
                raise InvalidRequest(
                    f"text {index} has {len(row)} tokens and this model reads at most {room}:"
                    " shorten or split it, or ask for truncation",
                    param="input",
                )


class RerankEncoder:
    """Pairs to rows for a reranker: only the document is ever cut.

    A query may fill half of what the model reads, so that about half is left for the document; a
    longer one raises InvalidRequest.
    """

    def __init__(self, tokenizer: Tokenizer, template: RerankTemplate, max_model_len: int) -> None:
        self._pieces = _Pieces(tokenizer)
        self._template = template
        self._prefix = self._pieces.fixed(template.prefix)
        self._separator = self._pieces.fixed(template.separator)
        self._suffix = self._pieces.fixed(template.suffix)
        self._max_model_len = max_model_len
        self._reader = _digest(tokenizer.to_str(), template.document, str(max_model_len))
        if max_model_len < 3 * (len(self._prefix) + len(self._separator) + len(self._suffix)):
            raise ValueError(f"max_model_len {max_model_len} leaves no room beside the template")

    def keep(self, documents: Sequence[str]) -> list[bytes]:
        """Of each document what `pairs` will need of its tokens, to be kept beside it."""
        rows = self._beginnings(documents, self._max_model_len)
        return [document_tokens.keep(self._reader, row[: self._max_model_len]) for row in rows]

    def unread(self, documents: Sequence[str], kept: Sequence[bytes | None]) -> list[str]:
        """The documents whose tokens were not kept, or were kept for another reader."""
        known = self._known(documents, kept)
        return [text for text, ids in zip(documents, known, strict=True) if ids is None]

    def pairs(
        self,
        query: str,
        documents: Sequence[str],
        max_tokens_per_doc: int | None,
        kept: Sequence[bytes | None] = (),
    ) -> TokenRows:
        """`kept`, if there is any, is of each document what `keep` made of it, or None."""
        head = self._head(query)
        room = self._max_model_len - len(head) - len(self._suffix)
        if max_tokens_per_doc is not None:
            room = min(room, max_tokens_per_doc)
        known = self._known(documents, kept)
        unread = [text for text, ids in zip(documents, known, strict=True) if ids is None]
        read = iter(self._beginnings(unread, room))
        bodies = [
            (np.asarray(next(read), np.int32) if ids is None else ids)[:room] for ids in known
        ]
        starts = [len(head)] * len(bodies) if self._template.segments else None
        return TokenRows.between(head, bodies, self._suffix, starts)

    def about_tokens(self, query: str, documents: Sequence[str]) -> float:
        asked = len(query)
        return sum(_about_tokens(asked + len(text), self._max_model_len) for text in documents)

    def _known(
        self, documents: Sequence[str], kept: Sequence[bytes | None]
    ) -> list[NDArray[np.int32] | None]:
        return [
            document_tokens.kept_for(self._reader, one) for one in kept or [None] * len(documents)
        ]

    def _beginnings(self, documents: Sequence[str], tokens: int) -> list[list[int]]:
        texts = [self._template.document_text(text) for text in documents]
        return self._pieces.beginnings(texts, tokens)

    def _head(self, query: str) -> list[int]:
        [asked] = self._pieces.texts([self._template.query_text(query)])
        limit = self._max_model_len // 2
        if len(asked) > limit:
            raise InvalidRequest(
                f"the query has {len(asked)} tokens with its instruction and this model takes at"
                f" most {limit}: shorten it",
                param="query",
            )
        return self._prefix + asked + self._separator


class Encoder:
    """Both encoders, awaitable: short texts are encoded at once, long ones on other threads."""

    def __init__(self, embed: EmbedEncoder, rerank: RerankEncoder, threads: int) -> None:
        self._embed = embed
        self._rerank = rerank
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="tokenizer")

    def text_tokens(self, texts: Sequence[str]) -> float:
        """About how many tokens the rows of `texts` will have, without reading them."""
        return self._embed.about_tokens(texts)

    def pair_tokens(self, query: str, documents: Sequence[str]) -> float:
        """About how many tokens the rows of these pairs will have, without reading them."""
        return self._rerank.about_tokens(query, documents)

    async def queries(self, texts: Sequence[str], cut: Cut | None) -> TokenRows:
        return await self._run(texts, lambda: self._embed.queries(texts, cut))

    async def documents(self, texts: Sequence[str], cut: Cut | None) -> TokenRows:
        return await self._run(texts, lambda: self._embed.documents(texts, cut))

    async def pairs(
        self,
        query: str,
        documents: Sequence[str],
        max_tokens_per_doc: int | None,
        kept: Sequence[bytes | None] = (),
    ) -> TokenRows:
        rerank = self._rerank
        return await self._run(
            [query, *rerank.unread(documents, kept)],
            lambda: rerank.pairs(query, documents, max_tokens_per_doc, kept),
        )

    async def keep(self, documents: Sequence[str]) -> list[bytes]:
        return await self._run(documents, lambda: self._rerank.keep(documents))

    async def _run(self, texts: Sequence[str], encode: Callable[[], T]) -> T:
        if sum(map(len, texts)) < _CHARACTERS_ON_LOOP:
            return encode()
        return await asyncio.get_running_loop().run_in_executor(self._threads, encode)


def _refuse_empty(rows: Sequence[Sequence[int]]) -> None:
    for index, row in enumerate(rows):
        if not row:
            raise InvalidRequest(
                f"text {index} has no character that this model reads: leave it out", param="input"
            )


def _about_tokens(characters: int, most: int) -> float:
    return min(characters / _MEAN_CHARACTERS_A_TOKEN, most)


def _digest(*parts: str) -> bytes:
    """Of what decides the tokens of a document."""
    whole = hashlib.blake2b(digest_size=document_tokens.READER_BYTES)
    for part in parts:
        whole.update(part.encode() + b"\0")
    return whole.digest()
