"""Both models' tokenisation as the Router's event loop asks for it: awaitable, and fair.

Long texts are tokenised on other threads, whose work is done in order of arrival: one piece of each
origin at a time, so that nobody's waits for more than one of each other's. Knows no model.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from deployments.errors import InvalidRequest
from deployments.request.origin import Origin
from deployments.rows.encoded_rows import EncodedRows
from deployments.text.prompts import Cut, takes_instruction
from deployments.text.tokenizer import EmbedEncoder, RerankEncoder
from deployments.text.turns import Turns

# Below this many characters, a hop to another thread costs more than the work (about 0.1 ms).
_CHARACTERS_ON_LOOP = 2_000

T = TypeVar("T")


class Encoder:
    """Tokenises for `embed` and `rerank`, on `threads` threads."""

    def __init__(self, embed: EmbedEncoder, rerank: RerankEncoder, threads: int) -> None:
        self._embed = embed
        self._rerank = rerank
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="tokenizer")
        self._turns = Turns()

    def text_tokens(self, texts: Sequence[str]) -> float:
        """Estimate the tokens of the rows of `texts` from their lengths."""
        return self._embed.estimated_tokens(texts)

    def pair_tokens(self, query: str, documents: Sequence[str]) -> float:
        """Estimate the tokens of the rows of these pairs from their lengths."""
        return self._rerank.estimated_tokens(query, documents)

    def require_instruction(self, embed: bool, rerank: bool) -> None:
        """Raise InvalidRequest unless a model that is needed reads one."""
        read = (embed and takes_instruction(self._embed.template)) or (
            rerank and takes_instruction(self._rerank.template)
        )
        if not read:
            raise InvalidRequest(
                "no model that this request needs reads an instruction: leave it out",
                param="instruction",
            )

    async def queries(
        self, texts: Sequence[str], cut: Cut | None, origin: Origin, instruction: str | None = None
    ) -> EncodedRows:
        return await self._run(texts, origin, lambda: self._embed.queries(texts, cut, instruction))

    async def documents(self, texts: Sequence[str], cut: Cut | None, origin: Origin) -> EncodedRows:
        return await self._run(texts, origin, lambda: self._embed.documents(texts, cut))

    async def pairs(
        self,
        query: str,
        documents: Sequence[str],
        max_tokens_per_doc: int | None,
        origin: Origin,
        kept: Sequence[bytes | None] = (),
        instruction: str | None = None,
    ) -> EncodedRows:
        rerank = self._rerank
        return await self._run(
            [query, *rerank.untokenised(documents, kept)],
            origin,
            lambda: rerank.pairs(query, documents, max_tokens_per_doc, kept, instruction),
        )

    async def refuse_long(self, query: str, origin: Origin, instruction: str | None = None) -> None:
        await self._run([query], origin, lambda: self._rerank.refuse_long(query, instruction))

    async def keep(self, documents: Sequence[str], origin: Origin) -> list[bytes]:
        return await self._run(documents, origin, lambda: self._rerank.keep(documents))

    async def _run(self, texts: Sequence[str], origin: Origin, encode: Callable[[], T]) -> T:
        if sum(map(len, texts)) < _CHARACTERS_ON_LOOP:
            return encode()
        async with self._turns.of(origin):
            return await asyncio.get_running_loop().run_in_executor(self._threads, encode)
