"""A model stage in virtual time: replicas that start, serve, retire or are lost.

Each replica's queue is the service's own Batcher; its engines are sleeps. Replicas are chosen as
Serve does, the less busy of two random ones: by calls, as Serve counts them, or by tokens. One with
`max_ongoing_requests` takes no more. GPU time is paid from the moment a replica is asked for. A
call to a replica that is lost fails with its batch and is made again; calls are not hedged. Knows
no policy.
"""

import asyncio
import math
import random
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from deployments.autoscaling.signals import StageSignals, Stats
from deployments.batching.batcher import Batcher, BatchLimits
from deployments.config import CallLimits
from deployments.errors import StageUnavailable
from deployments.request.deadline import Clock, Deadline, within
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from loadtest.simulate.engine import SimulatedEngine, StepLimits
from loadtest.simulate.service_times import ServiceTimes

_RETRY_S = 0.05


class StageSpec(BaseModel):
    """A stage's constants, by the names of profiles.

    `start_up_s` includes the start of a replica's node. A replica has `copies` of the engine, each
    with its part of the slots. What is lost is noticed after `health_check_period_s`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    times: ServiceTimes
    limits: BatchLimits
    step: StepLimits
    calls: CallLimits
    copies: int = Field(default=1, gt=0)
    replicas: int = Field(ge=0)
    lowest: int = Field(default=1, ge=0)
    highest: int = Field(default=1000, gt=0)
    start_up_s: float = Field(default=120, ge=0)
    gpus: float = Field(default=1.0, ge=0)
    max_ongoing_requests: int = Field(default=1000, gt=0)
    max_surge_percent: int = Field(default=25, gt=0)
    health_check_period_s: float = Field(default=0, ge=0)
    busy_by: Literal["calls", "tokens"] = "calls"


class Replica:
    """A replica: a real Batcher over simulated engines, with its calls and tokens under way."""

    def __init__(self, spec: StageSpec, clock: Clock, asked_s: float) -> None:
        self.asked_s = asked_s
        self.calls = 0
        self.tokens = 0
        self.serving = False
        self.lost = False
        self.batcher: Batcher[TokenRows, ModelOutput] = Batcher(self._compute, clock, spec.limits)
        self._engines = [SimulatedEngine(spec.times, spec.step) for _ in range(spec.copies)]

    def stats(self) -> Stats:
        batcher = self.batcher
        measured = batcher.throughput.per_s
        return StageSignals(batcher.lane_costs, batcher.oldest_wait_s(), measured).to_stats()

    async def _compute(self, rows: TokenRows) -> ModelOutput:
        if not self.lost:
            await min(self._engines, key=lambda one: one.batches).compute(rows.lengths)
        if self.lost:
            raise StageUnavailable("the replica was lost")
        return ModelOutput.uncached(np.zeros(len(rows), np.float32)).with_fingerprint("model")


class SimulatedStage:
    """The replicas of a stage: the Router uses `call`, the autoscaler `resize`."""

    def __init__(self, spec: StageSpec, clock: Clock, seed: int) -> None:
        self.spec = spec
        self.target = spec.replicas
        self.calls = 0
        self.gpu_s = 0.0
        self._surge = 0
        self._unnoticed = 0
        self._clock = clock
        self._random = random.Random(seed)
        self._replicas: list[Replica] = []
        self._some_serve = asyncio.Event()
        for _ in range(spec.replicas):
            self._begin_serving(self._ask())

    @property
    def serving(self) -> list[Replica]:
        return [replica for replica in self._replicas if replica.serving]

    @property
    def queued_tokens(self) -> int:
        return int(sum(replica.batcher.queued_cost for replica in self._replicas))

    async def call(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:
        """Compute rows on a replica; a lost replica's work goes to another.

        Raises Overloaded and DeadlineExceeded.
        """
        self.calls += 1
        try:
            while True:
                await within(deadline, self._some_serve.wait())
                replica = self._choose()
                if replica.calls >= self.spec.max_ongoing_requests:
                    await within(deadline, asyncio.sleep(_RETRY_S))
                    continue
                replica.calls += 1
                replica.tokens += rows.total_tokens
                try:
                    return await replica.batcher.submit(rows, deadline.left_s(), origin)
                except StageUnavailable:
                    await asyncio.sleep(_RETRY_S)
                finally:
                    replica.calls -= 1
                    replica.tokens -= rows.total_tokens
                    self._leave_if_done(replica)
        finally:
            self.calls -= 1

    def _choose(self) -> Replica:
        serving = self.serving
        two = self._random.sample(serving, min(2, len(serving)))
        by_tokens = self.spec.busy_by == "tokens"
        return min(two, key=lambda one: one.tokens if by_tokens else one.calls)

    def resize(self, target: int) -> None:
        """Start or retire replicas to reach `target`.

        Replicas that are still starting are retired first; the others finish their calls.
        """
        self.target = target
        target += self._surge
        wanted = [replica for replica in self._replicas if replica.serving or not replica.calls]
        wanted = [replica for replica in wanted if not replica.lost]
        for _ in range(target - self._unnoticed - len(wanted)):
            replica = self._ask()
            later = asyncio.get_running_loop().call_later
            later(self.spec.start_up_s, self._begin_serving, replica)
        wanted.sort(key=lambda replica: (replica.serving, -replica.asked_s))
        for replica in wanted[: max(0, len(wanted) - target)]:
            self._retire(replica)

    def lose(self, count: int) -> None:
        """Lose `count` serving replicas at once, with their work."""
        lost = self.serving[:count]
        for replica in lost:
            replica.lost = True
            self._retire(replica)
        self._unnoticed += len(lost)
        later = asyncio.get_running_loop().call_later
        later(self.spec.health_check_period_s, self._notice, len(lost))

    def _notice(self, lost: int) -> None:
        self._unnoticed -= lost

    def upgrade(self) -> None:
        """Replace all serving replicas as Serve does: the part `max_surge_percent` of them starts
        anew, as many are retired, and so on."""
        at_once = math.ceil(self.spec.max_surge_percent * self.target / 100)
        self._upgrading = asyncio.create_task(self._replace(self.serving, at_once))

    async def _replace(self, old: list[Replica], at_once: int) -> None:
        while old:
            new = [self._ask() for _ in range(min(at_once, len(old)))]
            self._surge = len(new)
            await asyncio.sleep(self.spec.start_up_s)
            for replica in new:
                self._begin_serving(replica)
                self._retire(old.pop())
            old = [replica for replica in old if replica.serving]
        self._surge = 0

    def _ask(self) -> Replica:
        replica = Replica(self.spec, self._clock, self._clock())
        self._replicas.append(replica)
        return replica

    def _begin_serving(self, replica: Replica) -> None:
        if replica in self._replicas:
            replica.serving = True
            self._some_serve.set()

    def _retire(self, replica: Replica) -> None:
        replica.serving = False
        if not self.serving:
            self._some_serve.clear()
        self._leave_if_done(replica)

    def _leave_if_done(self, replica: Replica) -> None:
        """Remove a retired replica once its last call has ended, and pay for it."""
        if replica.calls or replica.serving or replica not in self._replicas:
            return
        self._replicas.remove(replica)
        self.gpu_s += self._paid_s(replica)

    def _paid_s(self, replica: Replica) -> float:
        return self.spec.gpus * (self._clock() - replica.asked_s)

    def gpu_hours(self) -> float:
        """GPU-hours paid until now."""
        return (self.gpu_s + sum(self._paid_s(replica) for replica in self._replicas)) / 3600
