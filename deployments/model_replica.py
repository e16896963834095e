"""What Embedder and Reranker have in common: one engine behind one fair queue, and its health.

Knows neither text nor tenants' rights nor HTTP; what is computed, and the golden answers to it, are
the subclass's.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deployments.batcher import Batcher, BatchLimits, Compute
from deployments.checkpoint import locate, weights_digest
from deployments.computed import Computed
from deployments.configs import ModelConfig
from deployments.engine.base import PoolingEngine
from deployments.engine.build import build_engine
from deployments.errors import StageUnavailable
from deployments.fair_queue import Origin
from deployments.metrics import BatchMetrics
from deployments.signals import StageSignals, Stats
from deployments.stage import StageStatus
from deployments.token_rows import TokenRows

logger = logging.getLogger(__name__)

# Long enough for the answers that say so to leave.
_LAST_WORDS_S = 0.5


class ModelReplica:
    """`start` first; then `submit`."""

    async def start(
        self, stage: str, config: ModelConfig, method: Callable[[PoolingEngine], Compute]
    ) -> tuple[PoolingEngine, Path]:
        """Load the engine and put the queue before its `method`."""
        directory = locate(config.engine.model, config.engine.revision, weights=True)
        engine_config = config.engine.model_copy(update={"model": str(directory)})
        fingerprint = config.fingerprint(weights_digest(directory))
        engine = await build_engine(engine_config)
        self.attach(stage, config, fingerprint, engine, method)
        return engine, directory

    def attach(
        self,
        stage: str,
        config: ModelConfig,
        fingerprint: str,
        engine: PoolingEngine,
        method: Callable[[PoolingEngine], Compute],
    ) -> None:
        """Put the queue before `method` of an engine that is loaded."""
        self._config = config
        self._contract = config.contract()
        self.fingerprint = fingerprint
        self._engine = engine
        self._compute = method(engine)
        self._batcher = Batcher(
            self._compute_or_end, time.monotonic, BatchLimits(), BatchMetrics(stage).observe
        )

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        self._batcher.limits = BatchLimits.model_validate(user_config)

    async def submit(
        self, rows: TokenRows, timeout_s: float, origin: Origin, contract: str
    ) -> Computed:
        """Raises Overloaded, DeadlineExceeded, StageUnavailable."""
        if contract != self._contract:
            # While a new version rolls out, a Router may reach a replica of the other one.
            raise StageUnavailable("this replica serves another version of the model")
        owned = rows.owned_by(origin.tenant)
        computed = await self._batcher.submit(owned, timeout_s, origin)
        return computed.by(self.fingerprint)

    async def status(self) -> StageStatus:
        batcher = self._batcher
        return StageStatus(
            self._config.name, self.fingerprint, batcher.queued_rows, batcher.queued_tokens
        )

    def record_autoscaling_stats(self) -> Stats:
        """What waits and how fast the engine is; Serve asks for it."""
        batcher = self._batcher
        return StageSignals(
            batcher.lane_tokens, batcher.oldest_wait_s(), batcher.throughput.tokens_per_s
        ).to_stats()

    async def check_health(self) -> None:
        await self._engine.check_health()

    async def _compute_or_end(self, rows: TokenRows) -> Computed:
        try:
            return await self._compute(rows)
        except StageUnavailable:
            # Until Serve's third failed health check a dead engine would answer faster than any
            # healthy one, and draw the traffic. A dead replica is replaced at once.
            logger.critical("the engine has failed: this replica ends")
            asyncio.get_running_loop().call_later(_LAST_WORDS_S, os._exit, 1)
            raise
