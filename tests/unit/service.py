"""The service behind the HTTP application, with a pipeline that notes what it was asked."""

from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np

from deployments.api.app import build_http_app
from deployments.library import Library
from deployments.pipeline import Embedded, Pipeline, Ranked, Usage
from deployments.schemas import Readiness
from deployments.service import EmbedModel, RerankModel, Service
from deployments.tenancy import KeyRing, new_key, write_keys


class NotingPipeline:
    """Answers every text with the same vector and every document with the same score; `asked` is
    the last call: its method and the arguments that a dialect decides."""

    def __init__(self) -> None:
        self.asked: tuple[Any, ...] = ()

    async def embed_queries(self, texts: list[str], cut: object, *_: object) -> Embedded:
        return self._embed("queries", texts, cut)

    async def embed_documents(self, texts: list[str], cut: object, *_: object) -> Embedded:
        return self._embed("documents", texts, cut)

    def _embed(self, kind: str, texts: list[str], cut: object) -> Embedded:
        self.asked = (kind, texts, cut)
        vectors = np.tile(np.array([0.6, -0.8], np.float32), (len(texts), 1))
        return Embedded(vectors, "fingerprint", Usage(len(texts), 1))

    async def rerank(
        self, query: str, documents: list[str], max_tokens_per_doc: object, *_: object
    ) -> Ranked:
        self.asked = (query, documents, max_tokens_per_doc)
        return Ranked([(index, 0.5) for index in range(len(documents))], Usage(len(documents)))


class TestService:
    """A client with a key of an application that runs in this process."""

    __test__ = False

    def __init__(self, directory: Path) -> None:
        self.key, record = new_key("tenant")
        write_keys(directory / "keys.json", [record])
        self.pipeline = NotingPipeline()
        self.app = build_http_app(
            Service(
                pipeline=cast(Pipeline, self.pipeline),
                library=cast(Library, None),
                keys=KeyRing(directory / "keys.json", lambda: 0.0),
                embed_model=EmbedModel("embedder", 2, None),
                rerank_model=RerankModel("reranker"),
                readiness=_ready,
                clock=lambda: 0.0,
            )
        )

    async def post(self, path: str, **request: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}"} | request.pop("headers", {})
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://winnow") as client:
            return await client.post(path, headers=headers, **request)


async def _ready() -> Readiness:
    return Readiness(ready=True, stages={})
