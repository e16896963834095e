"""Whether an engine computes what transformers does: the same rows, on the same device."""

import asyncio
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.stages import ModelStage
from deployments.config import EmbedderConfig, RerankerConfig
from deployments.engine.base import PoolingEngine
from deployments.reranker import relevance
from deployments.rows.token_rows import TokenRows
from deployments.text.prompts import Cut
from deployments.text.tokenizer import EmbedEncoder, RerankEncoder
from deployments.text.tokenizer_files import load_tokenizer
from loadtest.gpu.emitter import Figures
from loadtest.gpu.settings import QUERY_TOKENS, Settings
from loadtest.run.requests import Texts

_LEAST_COSINE = 0.999
_MOST_APART = 0.02  # of relevance scores
_WORDS = (1, 5, 30, 120, 400)


def pairs_encoder(settings: Settings) -> RerankEncoder:
    """Return the encoder of the profile's reranker."""
    config = RerankerConfig.model_validate(settings.stage("rerank"))
    tokenizer = load_tokenizer(settings.model("rerank"))
    return RerankEncoder(tokenizer, config.template, config.engine.max_model_len)


async def compare_vectors(settings: Settings, engine: PoolingEngine) -> Figures:
    """Compare vectors. Cosines of different texts show what the check can tell apart."""
    config = EmbedderConfig.model_validate(settings.stage("embed"))
    tokenizer = load_tokenizer(settings.model("embed"))
    encoder = EmbedEncoder(tokenizer, config.template, config.engine.max_model_len)
    texts = Texts(0)
    rows = encoder.documents([texts.of(words) for words in _WORDS], Cut()).rows
    ours = (await engine.embed(rows)).values
    exact = await _reference(settings, "embed", rows, "float32")
    rounded = await _reference(settings, "embed", rows, "bfloat16")
    least = _cosines(ours, exact).min()
    others = (exact @ exact.T)[~np.eye(len(exact), dtype=bool)]
    return {
        "cosine": float(least),
        "cosine_of_transformers_in_bfloat16": float(_cosines(rounded, exact).min()),
        "cosine_of_different_texts": float(others.max()),
    }


async def correct_vectors(settings: Settings, engine: PoolingEngine) -> Figures:
    """Compare vectors, and say whether they are close enough."""
    figures = await compare_vectors(settings, engine)
    return figures | {"correct": figures["cosine"] >= _LEAST_COSINE}


async def correct_scores(settings: Settings, engine: PoolingEngine) -> Figures:
    """Compare relevance scores, and say whether they are close enough."""
    texts = Texts(0)
    query, documents = texts.of(QUERY_TOKENS), [texts.of(words) for words in _WORDS]
    rows = pairs_encoder(settings).pairs(query, documents, None).rows
    ours = relevance((await engine.score(rows)).values)
    exact = relevance(await _reference(settings, "rerank", rows, "float32"))
    rounded = relevance(await _reference(settings, "rerank", rows, "bfloat16"))
    apart = np.abs(ours - exact).max()
    return {
        "score_apart": float(apart),
        "score_apart_of_transformers_in_bfloat16": float(np.abs(rounded - exact).max()),
        "score_apart_of_different_texts": float(np.ptp(exact)),
        "correct": bool(apart <= _MOST_APART),
    }


def _cosines(ours: NDArray[np.float32], exact: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = (ours * exact).sum(axis=1)
    return found


async def _reference(
    settings: Settings, stage: ModelStage, rows: TokenRows, precision: Any
) -> NDArray[np.float32]:
    # Imported only now: the engine's process is forked before this one uses CUDA.
    from loadtest.gpu import reference

    compute = reference.vectors if stage == "embed" else reference.logits
    return await asyncio.to_thread(compute, settings.model(stage), rows, precision)
