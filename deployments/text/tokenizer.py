"""Tokenisation for either model: exact counts for limits, usage, truncation and batching.

Works in batches, through the Rust tokenizer that releases the GIL. Of the tokenizer's library,
which `tokenizer_files` and `piece_tokenizer` use, it knows the type. Knows no engine and no thread.
"""

import hashlib
from collections.abc import Sequence, Sized
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from deployments.errors import InvalidRequest
from deployments.rows.encoded_rows import EncodedRows
from deployments.rows.token_rows import TokenRows
from deployments.text.piece_tokenizer import PieceTokenizer
from deployments.text.prompts import Cut, EmbedTemplate, RerankTemplate, instructed
from deployments.text.stored_tokens import DIGEST_BYTES, FORMAT, dump_tokens, load_tokens

# For estimates before tokenisation.
_MEAN_CHARACTERS_PER_TOKEN = 4


class EmbedEncoder:
    """Tokenises texts for an embedder: prefix + text + suffix, at most `max_model_len` tokens.

    Without a `cut`, a text that is too long raises InvalidRequest.
    """

    def __init__(self, tokenizer: Tokenizer, template: EmbedTemplate, max_model_len: int) -> None:
        self._pieces = PieceTokenizer(tokenizer)
        self.template = template
        self._prefix = self._pieces.fixed(template.prefix)
        self._suffix = self._pieces.fixed(template.suffix)
        self._fixed_tokens = len(self._prefix) + len(self._suffix)
        self._max_model_len = max_model_len
        self._query_head = self._head_tokens(template)

    def queries(
        self, texts: Sequence[str], cut: Cut | None, instruction: str | None = None
    ) -> EncodedRows:
        """Tokenise queries; only the query itself is ever cut, not its instruction."""
        template, head = self.template, self._query_head
        if instruction is not None:
            template = instructed(template, instruction)
            head = self._head_tokens(template)
            self._refuse_long_instruction(head)
        whole = [template.query_text(text) for text in texts]
        return self._rows(whole, cut, head)

    def documents(self, texts: Sequence[str], cut: Cut | None) -> EncodedRows:
        return self._rows(texts, cut, 0)

    def estimated_tokens(self, texts: Sequence[str]) -> float:
        return sum(_estimated_tokens(len(text), self._max_model_len) for text in texts)

    def _head_tokens(self, template: EmbedTemplate) -> int:
        """Return the tokens of the instruction, before any query: what follows does not change
        them."""
        starts = template.query_starts()
        return self._pieces.tokens_before(template.query_text("a"), starts) if starts else 0

    def _refuse_long_instruction(self, head: int) -> None:
        limit = (self._max_model_len - self._fixed_tokens) // 2
        if head > limit:
            raise InvalidRequest(
                f"the instruction has {head} tokens and the embedding model takes at most {limit}:"
                " shorten it",
                param="instruction",
            )

    def _rows(self, texts: Sequence[str], cut: Cut | None, head: int) -> EncodedRows:
        """Tokenise texts whose first `head` tokens are never cut."""
        limit = self._max_model_len - self._fixed_tokens
        truncated: tuple[int, ...] = ()
        if cut is None:
            rows = self._pieces.texts(texts)
            self._refuse_long(rows, limit)
        else:
            if cut.max_tokens is not None:
                self._refuse_narrow(cut.max_tokens, head)
                limit = min(limit, cut.max_tokens - self._fixed_tokens)
            # A token more than fits tells a text that is cut from one that just fits.
            if cut.keep == "start":
                rows = self._pieces.beginnings(texts, limit + 1)
            else:
                rows = self._pieces.texts(texts)
            truncated = _longer(rows, limit)
            for index in truncated:
                rows[index] = _shorten(rows[index], limit, cut.keep, head)
        if not self._fixed_tokens:
            _refuse_empty(rows)
        whole = TokenRows.pack([self._prefix + row + self._suffix for row in rows])
        return EncodedRows(whole, truncated)

    def _refuse_narrow(self, max_tokens: int, head: int) -> None:
        least = self._fixed_tokens + head + 1
        if max_tokens < least:
            raise InvalidRequest(
                f"a text cut to {max_tokens} tokens leaves none of it: this model adds"
                f" {least - 1}, so ask for {least} at least",
                param="max_tokens",
            )

    def _refuse_long(self, rows: Sequence[Sequence[int]], limit: int) -> None:
        for index, row in enumerate(rows):
            if len(row) > limit:
                raise InvalidRequest(
                    f"text {index} has {len(row)} tokens and this model reads at most {limit}:"
                    " shorten or split it, or ask for truncation",
                    param="input",
                )


class RerankEncoder:
    """Tokenises pairs for a reranker: only the document is ever cut.

    A query may have half of `max_model_len`, so that about half is left for the document; a longer
    one raises InvalidRequest.
    """

    def __init__(self, tokenizer: Tokenizer, template: RerankTemplate, max_model_len: int) -> None:
        self._pieces = PieceTokenizer(tokenizer)
        self.template = template
        self._prefix = self._pieces.fixed(template.prefix)
        self._separator = self._pieces.fixed(template.separator)
        self._suffix = self._pieces.fixed(template.suffix)
        self._max_model_len = max_model_len
        self._digest = _digest(tokenizer.to_str(), template.document, str(max_model_len), FORMAT)
        if max_model_len < 3 * (len(self._prefix) + len(self._separator) + len(self._suffix)):
            raise ValueError(f"max_model_len {max_model_len} leaves no room beside the template")

    def keep(self, documents: Sequence[str]) -> list[bytes]:
        """Return each document's tokens in the form to be stored, for `pairs` to use later."""
        rows = self._beginnings(documents, self._max_model_len)
        return [dump_tokens(self._digest, row[: self._max_model_len]) for row in rows]

    def refuse_long(self, query: str, instruction: str | None = None) -> None:
        """Raise InvalidRequest for a query that `pairs` would refuse. A short one costs nothing."""
        text = instructed(self.template, instruction).query_text(query)
        if len(text.encode()) > self._max_model_len // 2:
            self._head(query, instruction)

    def untokenised(self, documents: Sequence[str], kept: Sequence[bytes | None]) -> list[str]:
        """Return the documents without usable stored tokens."""
        stored = self._stored_ids(documents, kept)
        return [text for text, ids in zip(documents, stored, strict=True) if ids is None]

    def pairs(
        self,
        query: str,
        documents: Sequence[str],
        max_tokens_per_doc: int | None,
        kept: Sequence[bytes | None] = (),
        instruction: str | None = None,
    ) -> EncodedRows:
        """Tokenise the query with each document; `kept` has the results of `keep`, or None each."""
        head = self._head(query, instruction)
        limit = self._max_model_len - len(head) - len(self._suffix)
        if max_tokens_per_doc is not None:
            limit = min(limit, max_tokens_per_doc)
        stored = self._stored_ids(documents, kept)
        missing = [text for text, ids in zip(documents, stored, strict=True) if ids is None]
        tokenised = iter(self._beginnings(missing, limit + 1))
        bodies = [np.asarray(next(tokenised), np.int32) if ids is None else ids for ids in stored]
        starts = [len(head)] * len(bodies) if self.template.segments else None
        shown = [body[:limit] for body in bodies]
        rows = TokenRows.between(head, shown, self._suffix, starts)
        return EncodedRows(rows, _longer(bodies, limit))

    def estimated_tokens(self, query: str, documents: Sequence[str]) -> float:
        return sum(
            _estimated_tokens(len(query) + len(text), self._max_model_len) for text in documents
        )

    def _stored_ids(
        self, documents: Sequence[str], kept: Sequence[bytes | None]
    ) -> list[NDArray[np.int32] | None]:
        return [load_tokens(self._digest, one) for one in kept or [None] * len(documents)]

    def _beginnings(self, documents: Sequence[str], tokens: int) -> list[list[int]]:
        texts = [self.template.document_text(text) for text in documents]
        return self._pieces.beginnings(texts, tokens)

    def _head(self, query: str, instruction: str | None) -> list[int]:
        [ids] = self._pieces.texts([instructed(self.template, instruction).query_text(query)])
        limit = self._max_model_len // 2
        if len(ids) > limit:
            raise InvalidRequest(
                f"the query has {len(ids)} tokens with its instruction and this model takes at"
                f" most {limit}: shorten it",
                param="query",
            )
        return self._prefix + ids + self._separator


def _longer(rows: Sequence[Sized], limit: int) -> tuple[int, ...]:
    return tuple(index for index, row in enumerate(rows) if len(row) > limit)


def _shorten(row: list[int], limit: int, keep: Literal["start", "end"], head: int) -> list[int]:
    left = limit - head
    body = row[head:]
    return row[:head] + (body[:left] if keep == "start" else body[-left:])


def _refuse_empty(rows: Sequence[Sequence[int]]) -> None:
    for index, row in enumerate(rows):
        if not row:
            raise InvalidRequest(
                f"text {index} has no character that this model reads: leave it out", param="input"
            )


def _estimated_tokens(characters: int, limit: int) -> float:
    return min(characters / _MEAN_CHARACTERS_PER_TOKEN, limit)


def _digest(*parts: str) -> bytes:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.digest()
