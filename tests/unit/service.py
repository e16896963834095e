"""The service behind the HTTP application, with a pipeline that notes what it was asked.

FastAPI takes most of a second to build the application's routes, so one is built a process: its
parts lead to those of the TestService that was last asked for it.
"""

from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
from fastapi import FastAPI

from deployments.config import RequestLogConfig
from deployments.pipeline.pipeline import Embedded, Ranked, Usage
from deployments.request.context import Context
from deployments.tenants.admission import Admission
from deployments.tenants.api_keys import ALL_SCOPES, Scope, new_key, write_keys
from deployments.tenants.plans import Plan, Plans
from deployments.tenants.rate_limits.limiter import Limiter
from deployments.tenants.rate_limits.local import MemoryLimiter
from deployments.tenants.tenant_store import TenantStore
from deployments.text.prompts import Truncation
from deployments.text.token_ids import TokenVocabulary
from deployments.web.app import build_http_app
from deployments.web.request_log import RequestLog
from deployments.web.schemas import Readiness, ReplicaList, StageReadiness
from deployments.web.service import EmbedModel, RerankModel, Service

MODELS = {"embed": "embedder", "rerank": "reranker"}


class NotingPipeline:
    """Answers every text with the same vector and every document with the same score, for a token
    a text; `asked` is the last call: its method and the arguments that a dialect decides."""

    def __init__(self) -> None:
        self.asked: tuple[Any, ...] = ()

    async def embed_queries(self, texts: list[str], cut: object, context: Context) -> Embedded:
        return await self._embed("queries", texts, cut, context)

    async def embed_documents(self, texts: list[str], cut: object, context: Context) -> Embedded:
        return await self._embed("documents", texts, cut, context)

    async def _embed(
        self, kind: str, texts: Sequence[str], cut: object, context: Context
    ) -> Embedded:
        self.asked = (kind, texts, cut)
        await context.account.charge(len(texts))
        vectors = np.tile(np.array([0.6, -0.8], np.float32), (len(texts), 1))
        context.account.count("embed", len(texts), 1)
        return Embedded(vectors, "fingerprint", Usage(len(texts), 1))

    async def rerank(
        self,
        query: str,
        documents: list[str],
        max_tokens_per_doc: object,
        context: Context,
        instruction: str | None = None,
    ) -> Ranked:
        self.asked = (query, documents, max_tokens_per_doc)
        self.instruction = instruction
        await context.account.charge(len(documents))
        context.account.count("rerank", len(documents), 0)
        return Ranked([(index, 0.5) for index in range(len(documents))], Usage(len(documents)))


class _Part:
    """A part of the service that an application answers from now; while routes are built, what they
    keep of it is a part too."""

    def __init__(self, application: "_Application", path: str) -> None:
        self._application = application
        self._path = path

    def __getattr__(self, name: str) -> Any:
        service = self._application.service
        if service is None:
            return _Part(self._application, f"{self._path}.{name}")
        return getattr(attrgetter(self._path)(service), name)


class _Application:
    """The HTTP application over the parts of whatever `service` is."""

    def __init__(self, vocabulary: TokenVocabulary | None, truncate: Truncation) -> None:
        self.service: TestService | None = None
        self.logged = b""
        self.log = RequestLog(RequestLogConfig(), self._log, lambda: 0.0)
        self.parts = Service(
            pipeline=self._part("pipeline"),
            collections=self._part("collections"),
            control=self._part("control"),
            admission=self._part("admission"),
            embed_model=EmbedModel("embedder", 2, None, ("hub/embedder",), truncate),
            rerank_model=RerankModel("reranker", ("hub/reranker",)),
            readiness=self._readiness,
            replicas=self._replicas,
            clock=lambda: 0.0,
            request_log=self.log,
            token_vocabulary=vocabulary,
        )
        self.app = build_http_app(self.parts)

    def _part(self, path: str) -> Any:
        return _Part(self, path)

    def _log(self, lines: bytes) -> None:
        self.logged += lines

    async def _readiness(self) -> Readiness:
        assert self.service is not None
        ready = self.service.ready
        return Readiness(ready=ready, stages={"embed": StageReadiness(ready=ready, model="model")})

    async def _replicas(self) -> ReplicaList:
        return ReplicaList(stages={"embed": []}, silent=["rerank"])


@cache
def _application(vocabulary: TokenVocabulary | None, truncate: Truncation) -> _Application:
    return _Application(vocabulary, truncate)


class TestService:
    """A client with the first key of an application that runs in this process. Made by `open`."""

    __test__ = False

    def __init__(
        self,
        control: TenantStore,
        key: str,
        pipeline: Any,
        collections: Any,
        limiter: Limiter,
        vocabulary: TokenVocabulary | None = None,
        truncate: Truncation = "NONE",
    ) -> None:
        self.control = control
        self.key = key
        self.pipeline = pipeline
        self.collections = collections
        self.ready = True
        self.admission = Admission(limiter, lambda: 1, control.meter.record)
        self._profile = (vocabulary, truncate)

    @property
    def app(self) -> FastAPI:
        """The application, which answers from this service's parts until another is asked."""
        application = _application(*self._profile)
        application.service = self
        return application.app

    @property
    def parts(self) -> Service:
        """Parts of the application, for one that is built otherwise."""
        return _application(*self._profile).parts

    @classmethod
    async def open(
        cls,
        directory: Path,
        pipeline: Any = None,
        collections: Any = None,
        limiter: Limiter | None = None,
        **profile: Any,
    ) -> "TestService":
        """`profile` is what an operator may set: `vocabulary`, `truncate`."""
        key, record = new_key("tenant")
        write_keys(directory / "keys.json", [record])
        control = await TenantStore.open(
            None, directory, MODELS, lambda *_: None, lambda: None, lambda: 1_000_000.0
        )
        await control.start(directory / "keys.json")
        limiter = limiter or MemoryLimiter()
        return cls(control, key, pipeline or NotingPipeline(), collections, limiter, **profile)

    async def close(self) -> None:
        await self.control.meter.flush()
        await self.control.database.close()

    async def logged(self) -> list[dict[str, Any]]:
        """The lines of the request log since it was last asked for them."""
        application = _application(*self._profile)
        await application.log.close()
        logged, application.logged = application.logged, b""
        return [orjson.loads(line) for line in logged.splitlines()]

    def plan(self, **limits: Any) -> None:
        """Set the limits of the plan that every tenant has."""
        self.admission.configure(Plans(plans={"default": Plan.model_validate(limits)}))

    async def new_key(self, tenant: str, *scopes: Scope) -> str:
        """A key of a tenant, which is made if need be."""
        registry = self.control.registry
        if tenant not in {one.id for one in await registry.list_tenants(None, 1_000)}:
            await registry.create_tenant(tenant, "default", "")
        key, _ = await registry.create_key(tenant, scopes or ALL_SCOPES, None, "")
        await self.control.refresh()
        return key

    async def post(self, path: str, **request: Any) -> httpx.Response:
        return await self.send("POST", path, **request)

    async def send(
        self, method: str, path: str, key: str | None = None, **request: Any
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {key or self.key}"} | request.pop("headers", {})
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://winnow") as client:
            return await client.request(method, path, headers=headers, **request)
