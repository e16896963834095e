"""Conformance of the engines, on real vLLM: `inline`, `separate` and `copies` answer alike."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from cluster.profile import application, load_profile
from deployments.config import EmbedderConfig, RerankerConfig
from deployments.engine.base import EngineConfig, PoolingEngine, RowsFailed
from deployments.engine.build import build_engine
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from deployments.text.prompts import Cut
from deployments.text.tokenizer import EmbedEncoder, RerankEncoder
from deployments.text.tokenizer_files import load_tokenizer
from tests.models import model_directory

Kind = Literal["inline", "separate", "copies"]

_TEXTS = ["a cat", "The capital of China is Beijing.", "gravity " * 100, "x"]


def config_of(profile: str, stage: str) -> Any:
    args = application(load_profile(profile))["args"][stage]
    args["engine"]["model"] = str(model_directory(args["engine"]["model"]))
    return args


async def started(config: EngineConfig, kind: Kind) -> PoolingEngine:
    settings: dict[str, Any] = {"process": kind, "copies": None, "threads": 2}
    if kind == "copies":  # the next module tests several
        settings = {"copies": 1}
    return await build_engine(config.model_copy(update=settings))


@pytest.fixture(params=["inline", "separate", "copies"])
def kind(request: pytest.FixtureRequest) -> Kind:
    name: Kind = request.param
    return name


@pytest.fixture
async def embedder(kind: Kind) -> AsyncIterator[tuple[PoolingEngine, EmbedEncoder]]:
    config = EmbedderConfig.model_validate(config_of("tiny-qwen3", "embedder"))
    tokenizer = load_tokenizer(Path(config.engine.model))
    engine = await started(config.engine, kind)
    yield engine, EmbedEncoder(tokenizer, config.template, config.engine.max_model_len)
    engine.close()


@pytest.fixture
async def reranker(kind: Kind) -> AsyncIterator[tuple[PoolingEngine, RerankEncoder]]:
    config = RerankerConfig.model_validate(config_of("local", "reranker"))
    tokenizer = load_tokenizer(Path(config.engine.model))
    engine = await started(config.engine, kind)
    yield engine, RerankEncoder(tokenizer, config.template, config.engine.max_model_len)
    engine.close()


async def test_embed(embedder: tuple[PoolingEngine, EmbedEncoder]) -> None:
    engine, encoder = embedder
    together = (await engine.embed(encoder.documents(_TEXTS, Cut()).rows)).values
    assert together.shape == (4, 64)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-3)
    rows = [encoder.documents([text], Cut()).rows for text in _TEXTS]
    alone = [(await engine.embed(row)).values[0] for row in rows]
    assert (np.sum(together * np.stack(alone), axis=1) > 0.999).all()
    at_once = await asyncio.gather(
        *(engine.embed(encoder.documents([text], Cut()).rows) for text in _TEXTS)
    )
    assert (np.sum(together * ModelOutput.concatenate(at_once).values, axis=1) > 0.999).all()
    await engine.check_health()


async def test_a_row_that_vllm_does_not_take_fails_and_the_engine_goes_on(
    embedder: tuple[PoolingEngine, EmbedEncoder], kind: Kind
) -> None:
    engine, encoder = embedder
    good = encoder.documents(_TEXTS, Cut()).rows
    alone = (await engine.embed(good)).values
    config = EmbedderConfig.model_validate(config_of("tiny-qwen3", "embedder"))
    bad = TokenRows.pack([[1] * (config.engine.max_model_len + 1)])
    for rows in (bad, TokenRows.concatenate([good, bad, good])):
        with pytest.raises(RowsFailed):
            await engine.embed(rows)
    await engine.check_health()
    again = (await engine.embed(good)).values
    assert (np.sum(again * alone, axis=1) > 0.999).all(), kind


async def test_score(reranker: tuple[PoolingEngine, RerankEncoder]) -> None:
    """Scores equal the checkpoint's own logits, in any order; without segments they differ."""
    engine, encoder = reranker
    query = "How many people live in Berlin?"
    documents = [
        "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square"
        " kilometers.",
        "Berlin is well known for its museums.",
    ]
    logits = (await engine.score(encoder.pairs(query, documents, None).rows)).values
    assert logits.shape == (2,)
    assert logits.dtype == np.float32
    # The logits of the converted checkpoint in transformers, in float32.
    assert np.allclose(logits, [9.0851, -3.9343], atol=0.03)
    backwards = (await engine.score(encoder.pairs(query, documents[::-1], None).rows)).values
    assert np.allclose(backwards[::-1], logits, atol=0.03)
    rows = encoder.pairs(query, ["Three and a half million."], None).rows
    with_segments = (await engine.score(rows)).values
    without = (await engine.score(TokenRows(rows.ids, rows.lengths))).values
    assert abs(with_segments[0] - without[0]) > 0.05


@pytest.fixture
async def caching_reranker(kind: Kind) -> AsyncIterator[tuple[PoolingEngine, RerankEncoder]]:
    config = RerankerConfig.model_validate(config_of("tiny-qwen3", "reranker"))
    tokenizer = load_tokenizer(Path(config.engine.model))
    engine = await started(config.engine, kind)
    yield engine, RerankEncoder(tokenizer, config.template, config.engine.max_model_len)
    engine.close()


async def test_candidates_of_a_query_share_its_tokens(
    caching_reranker: tuple[PoolingEngine, RerankEncoder],
) -> None:
    """The prefix cache saves tokens, changes no score and is not shared between owners."""
    engine, encoder = caching_reranker
    documents = [f"Number {n} of a hundred short documents about rivers." for n in range(100)]
    rows = encoder.pairs("How long is the Danube?", documents, None).rows
    cold = await engine.score(rows.owned_by("first"))
    _check_counts(cold, rows)
    shared = cold.cached_tokens.sum() / rows.total_tokens
    assert shared >= 0.4, shared
    warm = await engine.score(rows.owned_by("first"))
    assert np.allclose(warm.values, cold.values, atol=1e-3)
    assert warm.cached_tokens.sum() > cold.cached_tokens.sum()
    another = await engine.score(rows.owned_by("second"))
    assert np.allclose(another.values, cold.values, atol=1e-3)
    assert another.cached_tokens.tolist() == cold.cached_tokens.tolist()


def _check_counts(output: ModelOutput, rows: TokenRows) -> None:
    """vLLM's own statistics of its steps come with the output, and say what the output says."""
    counts = output.counts
    assert counts is not None
    assert counts.steps >= 1
    assert counts.prompt_tokens == counts.prefix_cache_queries == rows.total_tokens
    assert counts.prefix_cache_hits == output.cached_tokens.sum()
    assert counts.preemptions == 0
    assert 0 <= counts.kv_cache_usage < 1
