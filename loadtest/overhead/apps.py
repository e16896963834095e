"""What is compared: Winnow whose engines and index cost nothing, and a bare Serve graph.

The first is the real Router, Embedder and Reranker but for their engines, and answers every search
with the same documents. The second has an ingress that calls one other deployment, which answers
with as many bytes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from cluster.config import AppConfig
from deployments.config import EmbedderConfig, RerankerConfig
from deployments.embedder import Embedder
from deployments.engine.base import PoolingEngine
from deployments.reranker import Reranker
from deployments.router import Router
from deployments.rows.model_output import ModelOutput
from deployments.rows.searches import SearchAnswers
from deployments.rows.token_rows import TokenRows
from deployments.stores.base import Hit, Record, Search
from deployments.text.tokenizer import RerankEncoder, load_tokenizer
from loadtest.overhead.answer import ANSWER, DOCUMENTS


class FreeEngine:
    """A PoolingEngine that computes nothing: every vector and every score is the same."""

    def __init__(self, width: int) -> None:
        self._vector = np.full(width, width**-0.5, np.float32)

    async def embed(self, rows: TokenRows) -> ModelOutput:
        return ModelOutput.anew(np.tile(self._vector, (len(rows), 1)))

    async def score(self, rows: TokenRows) -> ModelOutput:
        return ModelOutput.anew(np.zeros(len(rows), np.float32))

    async def check_health(self) -> None:
        return

    def close(self) -> None:
        return


class FreeEmbedder(Embedder):
    async def __init__(self, config: EmbedderConfig) -> None:  # type: ignore[misc] # Serve awaits it
        engine: PoolingEngine = FreeEngine(config.dimensions)
        self.attach("embed", config, "free", engine, lambda one: one.embed)


class FreeReranker(Reranker):
    async def __init__(self, config: RerankerConfig) -> None:  # type: ignore[misc] # Serve awaits it
        engine: PoolingEngine = FreeEngine(1)
        self.attach("rerank", config, "free", engine, lambda one: one.score)


class FreeIndex:
    """Finds the same documents whatever is asked, with their tokens as an ingestion keeps them."""

    def __init__(self, reranker: RerankerConfig) -> None:
        tokenizer = load_tokenizer(Path(reranker.engine.model))
        encoder = RerankEncoder(tokenizer, reranker.template, reranker.engine.max_model_len)
        self._hits = [
            Hit(Record(str(id), text, {}, tokens=tokens), 0.5)
            for id, (text, tokens) in enumerate(
                zip(DOCUMENTS, encoder.keep(DOCUMENTS), strict=True)
            )
        ]

    async def search(self, searches: Sequence[Search], *_: object) -> SearchAnswers:
        return SearchAnswers(tuple(self._hits[: search.query.k] for search in searches))

    async def status(self) -> str:
        return "memory"


def winnow(config: AppConfig) -> Application:
    return graph(config, FreeEmbedder, FreeReranker)


def graph(
    config: AppConfig, embedder: type[Embedder], reranker: type[Reranker], *embedder_options: object
) -> Application:
    """As cluster.app:build, with other engines and an index that is free; `embedder_options` follow
    the embedder's configuration."""
    embed = serve.deployment(name="Embedder")(embedder).bind(config.embedder, *embedder_options)
    index = serve.deployment(name="Index")(FreeIndex).bind(config.reranker)
    rerank = serve.deployment(name="Reranker")(reranker).bind(config.reranker)
    return serve.deployment()(Router).bind(
        config.router, config.embedder, config.reranker, embed, index, rerank
    )


bare = FastAPI()


class Answerer:
    async def answer(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        return ANSWER


@serve.ingress(bare)
class Front:
    def __init__(self, answerer: DeploymentHandle[Any]) -> None:
        self._answerer = answerer

    @bare.post("/search")
    async def search(self, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await self._answerer.answer.remote(body)
        return answer


def two_hops(_: dict[str, Any]) -> Application:
    deployment = serve.deployment(max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0})
    return deployment(Front).bind(deployment(Answerer).bind())
