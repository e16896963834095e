"""The steps that measure engines: as the service builds them, without the service.

`embed`, `rerank`, `copies` and `fp8` are steps, by their names. An engine's rows are what the
service would send: token ids, in batches of the profile's size, as many at once as it says.
"""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from cluster.capacity import GPUS
from cluster.stages import ModelStage
from deployments.engine.base import PoolingEngine
from deployments.engine.build import build_engine
from deployments.rows.token_rows import TokenRows
from loadtest.gpu.correctness import (
    compare_vectors,
    correct_scores,
    correct_vectors,
    pairs_encoder,
)
from loadtest.gpu.device import gpu, taken_gib
from loadtest.gpu.emitter import Emitter, Figures
from loadtest.gpu.figures import rerank_name, text_name
from loadtest.gpu.limit import card, flop
from loadtest.gpu.rates import Compute, measure, random_batches
from loadtest.gpu.settings import DOCUMENT_TOKENS, QUERY_TOKENS, TEXT_TOKENS, Settings
from loadtest.run.requests import Texts

# The profile's `slots` and `max_batch_rows`.
_SLOTS, _MOST_ROWS = 2, 512


async def embed(settings: Settings, emitter: Emitter) -> None:
    """Measure texts of all lengths, and batch budgets."""
    async with _started(settings, emitter, "embed", "embedder") as bench:
        await emitter.attempt("vectors", partial(correct_vectors, settings, bench.engine))
        for tokens in settings.lengths:
            await bench.texts(text_name(tokens), tokens)
        for budget in settings.budgets:
            name = f"{text_name(TEXT_TOKENS)}, batches of {budget}"
            await bench.texts(name, TEXT_TOKENS, batch_tokens=budget)


async def rerank(settings: Settings, emitter: Emitter) -> None:
    """Measure reranks, with the prefix cache and without it."""
    for cached in (True, False):
        name = rerank_name(settings.candidates, cached)
        caching = {"enable_prefix_caching": cached}
        async with _started(settings, emitter, "rerank", name, **caching) as bench:
            if cached:
                await emitter.attempt("scores", partial(correct_scores, settings, bench.engine))
            await bench.rate(name, bench.engine.score, _reranks(settings), _SLOTS)


async def copies(settings: Settings, emitter: Emitter) -> None:
    """Measure short texts on several engines of one GPU, each with a batch at a time."""
    for count in settings.copies:
        changes = {"process": "inline", "copies": count}
        async with _started(settings, emitter, "embed", f"{count} copies", **changes) as bench:
            for tokens in settings.lengths:
                if tokens <= TEXT_TOKENS:
                    name = f"{count} copies, {text_name(tokens)}"
                    await bench.texts(name, tokens, at_once=count)


async def fp8(settings: Settings, emitter: Emitter) -> None:
    """Measure the same texts in 8-bit numbers, and how much they change the vectors."""
    async with _started(settings, emitter, "embed", "fp8", quantization="fp8_per_channel") as bench:
        await emitter.attempt("fp8, vectors", partial(compare_vectors, settings, bench.engine))
        for tokens in settings.lengths:
            await bench.texts(f"fp8, {text_name(tokens)}", tokens)


class _Bench:
    """A loaded engine, and the figures of what it computes."""

    def __init__(
        self, settings: Settings, emitter: Emitter, engine: PoolingEngine, known: str | None
    ) -> None:
        """`known` is the card's name in `GPUS`: without it the limit is not known, as on a CPU."""
        self.engine = engine
        self._settings, self._emitter, self._known = settings, emitter, known

    async def texts(
        self, name: str, tokens: int, batch_tokens: int | None = None, at_once: int = _SLOTS
    ) -> None:
        budget = batch_tokens or self._settings.batch_tokens
        batches = random_batches(tokens, budget, _MOST_ROWS)
        await self.rate(name, self.engine.embed, batches, at_once)

    async def rate(
        self, name: str, compute: Compute, batches: Iterator[TokenRows], at_once: int
    ) -> None:
        async def part() -> Figures:
            found = await measure(compute, batches, at_once, self._settings.seconds)
            flop_per_s = flop(self._settings.shape, found.rows) / found.seconds
            return {
                "rows_per_s": found.rows_per_s,
                "tokens_per_s": found.tokens_per_s,
                "tflop_per_s": flop_per_s / 1e12,
                "mfu": flop_per_s / GPUS[self._known] if self._known else None,
                "cached": found.cached_share,
                "at_once": at_once,
            }

        await self._emitter.attempt(name, part)


@asynccontextmanager
async def _started(
    settings: Settings, emitter: Emitter, stage: ModelStage, name: str, **changes: Any
) -> AsyncIterator[_Bench]:
    config = settings.engine(stage, **changes)
    before, began_s = gpu(), time.perf_counter()
    engine = await build_engine(config)
    try:
        figures: Figures = {"start_s": time.perf_counter() - began_s, "eager": config.enforce_eager}
        emitter.emit(f"start of {name}", figures | taken_gib(before))
        yield _Bench(settings, emitter, engine, card(before.name if before else None))
    finally:
        engine.close()


def _reranks(settings: Settings) -> Iterator[TokenRows]:
    """Yield reranks of one query each; as those of different tenants, they share no cache."""
    encoder, texts, owner = pairs_encoder(settings), Texts(1), 0
    while True:
        documents = [texts.of(DOCUMENT_TOKENS) for _ in range(settings.candidates)]
        yield encoder.pairs(texts.of(QUERY_TOKENS), documents, None).rows.owned_by(str(owner))
        owner += 1
