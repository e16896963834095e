"""The Router deployment: the ingress that composes the stages into one service.

Turns handles into stages and text into tokens; what it knows of tenants is a copy of the control
store. Everything HTTP is in `api` and `dialects`, everything between the stages in `pipeline`.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.autoscaling.arrivals import Arrivals, Stage
from deployments.autoscaling.signals import Stats
from deployments.batching.replica_id import own_id
from deployments.calls.deployment_problems import DeploymentProblems
from deployments.calls.index_client import IndexClient
from deployments.calls.model_client import ModelStageClient
from deployments.calls.replica_count import ReplicaCount, own_replicas
from deployments.config import (
    CallLimits,
    ControlConfig,
    EmbedCacheConfig,
    EmbedderConfig,
    ModelConfig,
    RerankerConfig,
    RouterConfig,
)
from deployments.engine.weights import locate, tokenizer_digest
from deployments.metrics.router import RouterMetrics
from deployments.metrics.stores import FailureMetrics
from deployments.metrics.tenants import TenantMetrics
from deployments.metrics.tokens import TokenMetrics
from deployments.pipeline.collections import Collections
from deployments.pipeline.embedding_cache import CachedEmbedStage
from deployments.pipeline.pipeline import Pipeline
from deployments.pipeline.stages import ModelStage
from deployments.pipeline.vector_cache import VectorCache
from deployments.tenants.admission import Admission
from deployments.tenants.plans import Plans
from deployments.tenants.rate_limits.limiter import FallbackLimiter, Limiter
from deployments.tenants.rate_limits.local import FileLimiter, MemoryLimiter
from deployments.tenants.rate_limits.redis import RedisLimiter
from deployments.tenants.store.retention import Retention
from deployments.tenants.tenant_store import TenantStore
from deployments.text.encoder import Encoder
from deployments.text.piece_tokenizer import tokenize_in_calling_thread
from deployments.text.token_ids import TokenVocabulary
from deployments.text.tokenizer import EmbedEncoder, RerankEncoder
from deployments.text.tokenizer_files import load_tokenizer
from deployments.web.app import build_http_app
from deployments.web.line_writer import standard_output
from deployments.web.readiness import ReadinessProbe
from deployments.web.replica_loads import replica_loads
from deployments.web.request_log import RequestLog
from deployments.web.service import EmbedModel, RerankModel, Service
from deployments.web.tracing import tracing_of_environment

logger = logging.getLogger(__name__)

# At Python's 700 a collection comes with every third request and looks through all that are in
# flight: 0.06 to 0.1 ms of each. Cycles are few here, and wait for the next one.
_GC_THRESHOLD = 20_000

# Ray exports every ten seconds, and a gauge only if it was set since the last time.
_REPORT_S = 4.0


@serve.ingress()
class Router:
    def __init__(
        self,
        config: RouterConfig,
        embedder_config: EmbedderConfig,
        reranker_config: RerankerConfig,
        embedder: DeploymentHandle[Any],
        index: DeploymentHandle[Any],
        reranker: DeploymentHandle[Any],
    ) -> None:
        gc.set_threshold(_GC_THRESHOLD)
        tokenize_in_calling_thread()
        arrivals = self._arrivals = Arrivals(time.monotonic)
        embed_files, rerank_files = _files(embedder_config), _files(reranker_config)
        embed = _model_client(
            "embed", embedder, embedder_config, embed_files, config.embed_calls, arrivals
        )
        rerank = _model_client(
            "rerank", reranker, reranker_config, rerank_files, config.rerank_calls, arrivals
        )
        retrieve = IndexClient("retrieve", index)
        encoder = Encoder(
            _embed_encoder(embedder_config, embed_files),
            _rerank_encoder(reranker_config, rerank_files),
            config.tokenizer_threads,
        )
        cached = _remembering(embed, config.embed_cache)
        pipeline = Pipeline(encoder, cached, retrieve, rerank, arrivals)
        stages: dict[str, ModelStageClient | IndexClient] = {
            "embed": embed,
            "retrieve": retrieve,
            "rerank": rerank,
        }
        self._config = config
        self._models = {"embed": embedder_config.name, "rerank": reranker_config.name}
        self._readiness = _probe(stages).readiness
        self._routers = ReplicaCount(own_replicas)
        self._plans = Plans()
        self._admission: Admission | None = None
        self._assemble = partial(
            Service,
            pipeline=pipeline,
            collections=Collections(pipeline, embed, retrieve, embedder_config.dimensions),
            embed_model=_embed_model(embedder_config),
            rerank_model=RerankModel(reranker_config.name, reranker_config.aliases),
            token_vocabulary=_vocabulary(config.token_id_vocabulary),
            readiness=self._readiness,
            replicas=partial(replica_loads, stages),
            clock=time.monotonic,
            request_log=RequestLog(config.request_log, standard_output(), time.time),
            tracing=tracing_of_environment(own_id()),
        )

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Replace the plans. Serve calls this before and after the application is built."""
        self._plans = Plans.model_validate(user_config)
        if self._admission is not None:
            self._admission.configure(self._plans)

    def record_autoscaling_stats(self) -> Stats:
        """Arrivals for the model stages; Serve asks for them."""
        return self._arrivals.to_stats()

    # The hook by which Serve takes an app that is built after the constructor (Ray 2.60).
    async def __serve_build_asgi_app__(self) -> FastAPI:
        config, failures = self._config.control, FailureMetrics()
        tenants = TenantMetrics()
        metrics = self._metrics = RouterMetrics(tenants)
        control = await TenantStore.open(
            _secret(config.database_url_file),
            Path(config.directory),
            self._models,
            tenants.observe,
            lambda: failures.count("control"),
            time.time,
        )
        control.retention = Retention(config.usage_days, config.audit_days)
        await control.start(Path(self._config.keys_file))
        await self._routers.refresh()
        self._counting = asyncio.create_task(self._routers.run())
        limiter = _limiter(config, failures, self._routers)
        self._admission = Admission(limiter, self._routers, control.meter.record)
        self._admission.configure(self._plans)
        self._reporting = asyncio.create_task(self._report_metrics())
        service = self._assemble(control=control, admission=self._admission, metrics=metrics)
        return build_http_app(service, ui=self._config.ui, admin=self._config.admin)

    async def _report_metrics(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_S)
            try:
                self._metrics.report()
                stages = (await self._readiness()).stages
                self._metrics.ready({name: stage.ready for name, stage in stages.items()})
            except Exception:  # one that fails must not end all later ones
                logger.exception("metrics could not be reported")


def _model_client(
    stage: Stage,
    handle: DeploymentHandle[Any],
    config: ModelConfig,
    files: Path,
    calls: CallLimits,
    arrivals: Arrivals,
) -> ModelStageClient:
    contract = config.contract(tokenizer_digest(files))
    return ModelStageClient(stage, handle, contract, calls, arrivals)


def _probe(stages: Mapping[str, ModelStageClient | IndexClient]) -> ReadinessProbe:
    deployments = {name: stage.deployment_name for name, stage in stages.items()}
    return ReadinessProbe(stages, DeploymentProblems(deployments), time.monotonic)


def _limiter(
    config: ControlConfig, failures: FailureMetrics, routers: Callable[[], int]
) -> Limiter:
    url = _secret(config.redis_url_file)
    first = RedisLimiter(url) if url else FileLimiter(Path(config.directory) / "rates")
    return FallbackLimiter(
        first,
        MemoryLimiter(),
        routers if url else lambda: 1,
        lambda: failures.count("rates"),
        time.monotonic,
    )


def _embed_model(config: EmbedderConfig) -> EmbedModel:
    return EmbedModel(
        config.name, config.dimensions, config.min_dimensions, config.aliases, config.truncate
    )


def _vocabulary(file: str | None) -> TokenVocabulary | None:
    return None if file is None else TokenVocabulary.load(Path(file))


def _secret(file: str | None) -> str | None:
    return None if file is None else Path(file).read_text().strip()


def _remembering(embed: ModelStage, config: EmbedCacheConfig) -> ModelStage:
    if not config.max_bytes:
        return embed
    metrics = TokenMetrics("embed")
    cache = VectorCache(Path(config.directory), config.max_bytes)
    return CachedEmbedStage(embed, cache, lambda spared: metrics.add(spared, "embedding_cache"))


def _embed_encoder(config: EmbedderConfig, files: Path) -> EmbedEncoder:
    return EmbedEncoder(load_tokenizer(files), config.template, config.engine.max_model_len)


def _rerank_encoder(config: RerankerConfig, files: Path) -> RerankEncoder:
    return RerankEncoder(load_tokenizer(files), config.template, config.engine.max_model_len)


def _files(config: ModelConfig) -> Path:
    """Return the directory of a model's tokenizer; a Hub's is fetched if it is not there."""
    return locate(config.engine.model, config.engine.revision, weights=False)
