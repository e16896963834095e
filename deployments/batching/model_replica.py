"""The common part of Embedder and Reranker: one engine behind one fair queue, and its health.

Knows neither text nor tenants' rights nor HTTP; the computation and its golden answers are the
subclass's.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from deployments.autoscaling.signals import StageSignals, Stats
from deployments.batching.batcher import Batcher, BatchLimits
from deployments.batching.halves import Compute, compute_by_halves
from deployments.batching.replica_id import own_id
from deployments.batching.replica_load import ReplicaLoad
from deployments.batching.stage_status import StageStatus
from deployments.config import ModelConfig
from deployments.engine.base import PoolingEngine
from deployments.engine.build import build_engine
from deployments.engine.copies import copies_of
from deployments.engine.engine_process import EngineProcessEnded
from deployments.engine.golden import GoldenDrift, check_golden
from deployments.engine.weights import locate, tokenizer_digest, weights_digest
from deployments.errors import (
    DeadlineExceeded,
    EngineFailed,
    NotBegun,
    Overloaded,
    WinnowError,
)
from deployments.metrics.batches import BatchMetrics
from deployments.metrics.canary import EXPORT_S, CanaryMetrics
from deployments.metrics.engines import EngineMetrics
from deployments.metrics.queues import QueueMetrics
from deployments.request.origin import Origin
from deployments.request.traced import is_traced
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

logger = logging.getLogger(__name__)

# The golden rows are few and short: they cost the engine some milliseconds.
GOLDEN_PERIOD_S = 60.0

# Checks in a row that a model must fail: one may meet a passing fault, and all replicas of a stage
# may meet it at once.
_DRIFTS_TO_END = 3

# For a copy: a stuck one would fail the health of all. The engine itself ends it, and no replica.
_COPY_PATIENCE_S = 5.0

# To the golden pairs, of one engine.
Answers = Callable[[Compute], Awaitable[list[float]]]

# Long enough for the answers that tell of the end to leave.
_LAST_WORDS_S = 0.5


class ModelReplica:
    """Call `start` first, then `submit`."""

    async def start(
        self,
        stage: str,
        config: ModelConfig,
        method: Callable[[PoolingEngine], Compute],
        golden: Callable[[Path], Answers],
    ) -> None:
        """Load the engine, check its `golden` answers and put the queue before its `method`."""
        directory = locate(config.engine.model, config.engine.revision, weights=True)
        engine_config = config.engine.model_copy(update={"model": str(directory)})
        fingerprint = config.fingerprint(weights_digest(directory))
        answers = golden(directory)

        async def check_copy(copy: PoolingEngine) -> None:
            check_golden(config.golden, await answers(method(copy)))

        try:
            engine = await build_engine(engine_config, check_copy)
            self.attach(stage, config, fingerprint, engine, method, directory)
            await self.keep_golden(answers)
        except GoldenDrift:
            CanaryMetrics(stage).report(passed=False)
            await asyncio.sleep(EXPORT_S)
            raise

    def attach(
        self,
        stage: str,
        config: ModelConfig,
        fingerprint: str,
        engine: PoolingEngine,
        method: Callable[[PoolingEngine], Compute],
        directory: Path | None = None,
    ) -> None:
        """Put the queue before `method` of an engine that is loaded."""
        self._config = config
        self._contract = config.contract(tokenizer_digest(directory or Path(config.engine.model)))
        self.fingerprint = fingerprint
        self._engine = engine
        self._method = method
        self._golden_answers: Answers | None = None
        self._compute = method(engine)
        self._is_ending = False
        self._batch_metrics = BatchMetrics(stage)
        self._queue_metrics = QueueMetrics(stage)
        self._engine_metrics = EngineMetrics(stage)
        self._canary_metrics = CanaryMetrics(stage)
        self._batcher: Batcher[TokenRows, ModelOutput] = Batcher(
            self._compute_or_end,
            time.monotonic,
            BatchLimits(),
            self._observe_batch,
            measured_as=own_id() if is_traced() else "",
            waited=self._queue_metrics.waited,
        )

    async def keep_golden(self, answers: Answers) -> None:
        """Check the model's `answers` to the golden pairs now, and again with its health."""
        self._golden_answers = answers
        # In a row, by copy: beside one that answers well a drifted one would not be seen.
        self._drifts: dict[PoolingEngine, list[GoldenDrift]] = {}
        await self._check_golden()
        if self._drifts:
            raise next(iter(self._drifts.values()))[-1]

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        limits = BatchLimits.model_validate(user_config)
        if self._config.engine.copies is not None:
            limits = limits.model_copy(update={"slots": self._config.engine.engines()})
        self._batcher.limits = limits

    async def submit(
        self, rows: TokenRows, timeout_s: float, origin: Origin, contract: str
    ) -> ModelOutput | WinnowError:
        """Compute rows; the values of one that cannot be computed are NaN.

        Raises StageUnavailable; returns Overloaded and DeadlineExceeded, because Serve logs a
        traceback of each error that is raised, which costs more than to refuse."""
        if contract != self._contract:
            # While a new version rolls out, a Router may reach a replica of the other one.
            raise NotBegun("this replica serves another version of the model")
        owned = rows.owned_by(origin.tenant)
        try:
            computed = await self._batcher.submit(owned, timeout_s, origin)
        except (Overloaded, DeadlineExceeded) as refusal:
            return refusal
        return computed.with_fingerprint(self.fingerprint)

    async def status(self) -> StageStatus:
        batcher = self._batcher
        return StageStatus(
            self._config.name, self.fingerprint, batcher.queued_rows, int(batcher.queued_cost)
        )

    async def load(self) -> ReplicaLoad:
        return ReplicaLoad.of(self._batcher)

    def record_autoscaling_stats(self) -> Stats:
        """Queue and throughput, for the autoscaler; Serve asks for them."""
        batcher = self._batcher
        return StageSignals(
            batcher.lane_costs, batcher.oldest_wait_s(), batcher.throughput.per_s
        ).to_stats()

    async def check_health(self) -> None:
        """Raises EngineFailed, or GoldenDrift when the model no longer answers as it should.

        Metrics are reported with it: Serve asks every few seconds."""
        self._queue_metrics.report(self._batcher.oldest_wait_s(), self._batcher.lane_costs)
        self._engine_metrics.report()
        await self._engine.check_health()
        await self._keep_golden_checked()

    async def _keep_golden_checked(self) -> None:
        if not self._golden_answers:
            return
        if time.monotonic() >= self._golden_due_s:
            await self._check_golden()
            self._end_drifted()
        self._canary_metrics.report(passed=not self._drifts)

    async def _check_golden(self) -> None:
        copies = copies_of(self._engine)
        await asyncio.gather(*(self._check_copy(copy) for copy in copies))
        self._drifts = {copy: found for copy, found in self._drifts.items() if copy in copies}
        # A copy that has drifted is checked again with the next health check.
        if not self._drifts:
            self._golden_due_s = time.monotonic() + GOLDEN_PERIOD_S

    async def _check_copy(self, copy: PoolingEngine) -> None:
        assert self._golden_answers is not None
        try:
            async with asyncio.timeout(None if copy is self._engine else _COPY_PATIENCE_S):
                answers = await self._golden_answers(self._counted(self._method(copy)))
            check_golden(self._config.golden, answers)
        except GoldenDrift as drift:
            self._drifts.setdefault(copy, []).append(drift)
            logger.error("the model has drifted: %s", drift)
        except (EngineProcessEnded, TimeoutError):
            logger.warning("a copy of the engine does not answer its check")
        else:
            self._drifts.pop(copy, None)

    def _end_drifted(self) -> None:
        """End the copies whose drift lasts, or the replica if it has no others."""
        ended = {copy for copy, found in self._drifts.items() if len(found) >= _DRIFTS_TO_END}
        living = set(copies_of(self._engine))
        if living and living <= ended:
            self._end("the model has drifted")
            raise self._drifts[living.pop()][-1]
        for copy in ended:
            copy.close()

    def _observe_batch(self, rows: TokenRows, output: ModelOutput, took_s: float) -> None:
        self._batch_metrics.observe(rows, output, took_s, self._batcher.full_batch_cost())
        self._engine_metrics.add(output.counts)

    def _counted(self, compute: Compute) -> Compute:
        """For the rows of a check beside the queue. The counts that come with them may be those of
        batches."""

        async def computed(rows: TokenRows) -> ModelOutput:
            output = await compute(rows)
            self._engine_metrics.add(output.counts)
            return output

        return computed

    async def _compute_or_end(self, rows: TokenRows) -> ModelOutput:
        if self._is_ending:
            # An answer would be faster than any healthy replica's, and draw the traffic. Without
            # one the caller asks another as soon as this process is gone.
            await asyncio.Event().wait()
        try:
            return await compute_by_halves(self._compute, rows)
        except EngineFailed:
            self._end("the engine has failed")
            raise

    def _end(self, why: str) -> None:
        # Until Serve's third failed health check a dead engine would answer faster than any healthy
        # one, and draw the traffic. A dead replica is replaced at once.
        logger.critical("%s: this replica ends", why)
        self._is_ending = True
        asyncio.get_running_loop().call_later(_LAST_WORDS_S, os._exit, 1)
