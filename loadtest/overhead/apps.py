"""The Serve applications under comparison: Winnow with free engines, and a graph of two hops.

`winnow` has the real Router, Embedder and Reranker; engines and index compute nothing, and every
search finds the same documents. `two_hops` has an ingress that calls one other deployment, which
answers with about as many bytes.
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
from deployments.engine.base import EngineConfig, PoolingEngine
from deployments.reranker import Reranker
from deployments.router import Router
from deployments.rows.model_output import ModelOutput
from deployments.rows.searches import SearchAnswers
from deployments.rows.token_rows import TokenRows
from deployments.stores.base import Hit, IndexSearch, Record
from deployments.text.tokenizer import RerankEncoder
from deployments.text.tokenizer_files import load_tokenizer
from loadtest.overhead.answer import ANSWER, DOCUMENTS


class FreeEngine:
    """A PoolingEngine that computes nothing: all vectors are equal, and all scores."""

    def __init__(self, width: int) -> None:
        self._vector = np.full(width, width**-0.5, np.float32)

    async def embed(self, rows: TokenRows) -> ModelOutput:
        return ModelOutput.uncached(np.tile(self._vector, (len(rows), 1)))

    async def score(self, rows: TokenRows) -> ModelOutput:
        return ModelOutput.uncached(np.zeros(len(rows), np.float32))

    async def check_health(self) -> None:
        return

    def close(self) -> None:
        return


class FreeEmbedder(Embedder):
    """The Embedder with a FreeEngine."""

    async def __init__(self, config: EmbedderConfig) -> None:  # type: ignore[misc] # Serve awaits it
        engine: PoolingEngine = FreeEngine(config.dimensions)
        self.attach("embed", config, "free", engine, lambda one: one.embed)


class FreeReranker(Reranker):
    """The Reranker with a FreeEngine."""

    async def __init__(self, config: RerankerConfig) -> None:  # type: ignore[misc] # Serve awaits it
        engine: PoolingEngine = FreeEngine(1)
        self.attach("rerank", config, "free", engine, lambda one: one.score)


class FreeIndex:
    """An index that finds the same documents for every query, with their stored tokens."""

    def __init__(self, reranker: RerankerConfig) -> None:
        tokenizer = load_tokenizer(Path(reranker.engine.model))
        encoder = RerankEncoder(tokenizer, reranker.template, reranker.engine.max_model_len)
        self._hits = [
            Hit(Record(str(id), text, {}, tokens=tokens), 0.5)
            for id, (text, tokens) in enumerate(
                zip(DOCUMENTS, encoder.keep(DOCUMENTS), strict=True)
            )
        ]

    async def search(self, searches: Sequence[IndexSearch], *_: object) -> SearchAnswers:
        return SearchAnswers(tuple(self._hits[: search.query.k] for search in searches))

    async def status(self) -> str:
        return "memory"


def winnow(config: AppConfig) -> Application:
    return graph(config, FreeEmbedder, FreeReranker)


def graph(
    config: AppConfig, embedder: type[Embedder], reranker: type[Reranker], *embedder_options: object
) -> Application:
    """Bind the graph of cluster.app:build with other engines and a free index.

    There is one engine a replica, and no copies. `embedder_options` are further arguments of the
    embedder, after its configuration.
    """
    embeds = config.embedder.model_copy(update={"engine": _without_copies(config.embedder.engine)})
    reranks = config.reranker.model_copy(update={"engine": _without_copies(config.reranker.engine)})
    embed = serve.deployment(name="Embedder")(embedder).bind(embeds, *embedder_options)
    index = serve.deployment(name="Index")(FreeIndex).bind(reranks)
    rerank = serve.deployment(name="Reranker")(reranker).bind(reranks)
    return serve.deployment()(Router).bind(config.router, embeds, reranks, embed, index, rerank)


def _without_copies(engine: EngineConfig) -> EngineConfig:
    return engine.model_copy(update={"copies": None})


bare = FastAPI()


class Answerer:
    """The second hop of the graph."""

    async def answer(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        return ANSWER


@serve.ingress(bare)
class Front:
    """The ingress of the graph: the first hop."""

    def __init__(self, answerer: DeploymentHandle[Any]) -> None:
        self._answerer = answerer

    @bare.post("/search")
    async def search(self, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await self._answerer.answer.remote(body)
        return answer


def two_hops(_: dict[str, Any]) -> Application:
    deployment = serve.deployment(max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0})
    return deployment(Front).bind(deployment(Answerer).bind())
