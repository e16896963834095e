"""A cell: one Router, the embed and the rerank stage and their autoscaling, in virtual time.

The Router's call batches and arrival rates, the replicas' batchers and the scaling signals are the
service's own code. Engines and index are sleeps; HTTP is a constant delay.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from deployments.autoscaling.arrivals import Arrivals, Stage
from deployments.autoscaling.policy import StageLoad, StageSize, stage_load
from deployments.autoscaling.signals import StageSignals, Stats, arrivals_from_stats
from deployments.calls.call_batches import CallBatches
from deployments.errors import WinnowError
from deployments.request.deadline import Clock, Deadline
from deployments.request.origin import Origin
from deployments.rows.token_rows import TokenRows
from loadtest.simulate import virtual_time
from loadtest.simulate.policies import Observation, Policy
from loadtest.simulate.stage import SimulatedStage, StageSpec
from loadtest.traffic import LANES, ROUTES, Trace

STAGES: tuple[Stage, ...] = ("embed", "rerank")


class CellSpec(BaseModel):
    """A cell's stages and constants.

    A request outside the bulk lane should be answered within `slo_s`. Signals are taken every
    `period_s`, and are that old when a policy sees them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stages: dict[Stage, StageSpec]
    retrieve_s: float = Field(default=0.005, ge=0)
    overhead_s: float = Field(default=0.002, ge=0)
    deadline_s: float = Field(default=30, gt=0)
    slo_s: float = Field(default=1.0, gt=0)
    period_s: float = Field(default=2.0, gt=0)


@dataclass(frozen=True, slots=True)
class Moment:
    """A stage at `at_s`: replicas asked for, replicas serving, and queued tokens."""

    at_s: float
    target: int
    serving: int
    queued_tokens: int


@dataclass(slots=True)
class Outcome:
    """The result of a simulation.

    `latency_s` is float64 [requests], nan for failed requests. `counts` is True for the requests
    that have an objective: all but bulk.
    """

    trace: Trace
    slo_s: float
    latency_s: NDArray[np.float64]
    moments: dict[Stage, list[Moment]] = field(default_factory=lambda: {s: [] for s in STAGES})
    gpu_hours: dict[Stage, float] = field(default_factory=dict)

    @property
    def counts(self) -> NDArray[np.bool_]:
        return ~self.trace.is_route("ingest")

    def violations(self) -> float:
        """Share of counted requests that failed or took longer than `slo_s`."""
        kept = self.latency_s[self.counts] <= self.slo_s
        return float(1 - kept.mean()) if len(kept) else 0.0

    def failures(self) -> int:
        """Number of counted requests that failed."""
        return int(np.isnan(self.latency_s[self.counts]).sum())

    def percentile_s(self, percent: float) -> float:
        """Percentile of the latency of counted requests, seconds; nan if none was answered."""
        answered = self.latency_s[self.counts & ~np.isnan(self.latency_s)]
        return float(np.percentile(answered, percent)) if len(answered) else float("nan")

    def total_gpu_hours(self) -> float:
        return sum(self.gpu_hours.values())


# A change to the stages in the course of a run.
Event = Callable[[dict[Stage, SimulatedStage]], None]


class _Cell:
    def __init__(
        self, spec: CellSpec, policies: dict[Stage, Policy], trace: Trace, seed: int
    ) -> None:
        self._spec = spec
        self._policies = policies
        self._trace = trace
        self._clock: Clock = asyncio.get_running_loop().time
        self._arrivals = Arrivals(self._clock)
        self.stages = {
            name: SimulatedStage(spec.stages[name], self._clock, seed + number)
            for number, name in enumerate(STAGES)
        }
        self._batches = {
            name: CallBatches(stage.call, stage.spec.calls.at_once, stage.spec.calls.tokens)
            for name, stage in self.stages.items()
        }
        self._reported: tuple[Stats, dict[Stage, list[Stats]]] | None = None
        self.outcome = Outcome(trace, spec.slo_s, np.full(len(trace), np.nan))

    async def run(self) -> Outcome:
        scaling = asyncio.create_task(self._scale())
        requests: set[asyncio.Task[None]] = set()
        for number, at_s in enumerate(self._trace.at_s.tolist()):
            if at_s > self._clock():
                await asyncio.sleep(at_s - self._clock())
            task = asyncio.create_task(self._answer(number))
            requests.add(task)
            task.add_done_callback(requests.discard)
        if requests:
            await asyncio.wait(requests)
        if scaling.done():
            scaling.result()  # raises what ended it
        scaling.cancel()
        self.outcome.gpu_hours = {name: one.gpu_hours() for name, one in self.stages.items()}
        return self.outcome

    async def _answer(self, number: int) -> None:
        trace, began = self._trace, self._clock()
        route = ROUTES[trace.routes[number]]
        origin = Origin(trace.names[trace.tenants[number]], LANES[route])  # type: ignore[arg-type]
        deadline = Deadline.after(self._spec.deadline_s, self._clock)
        items, each = int(trace.items[number]), int(trace.item_tokens[number])
        query = int(trace.query_tokens[number])
        try:
            if route == "search":
                with self._arrivals.expecting(origin.lane, items):
                    await self._compute("embed", _rows(1, query), deadline, origin)
                    await asyncio.sleep(self._spec.retrieve_s)
                self._arrivals.reranked(items, items * (query + each))
                await self._compute("rerank", _rows(items, query + each), deadline, origin)
            elif route == "rerank":
                await self._compute("rerank", _rows(items, query + each), deadline, origin)
            else:
                await self._compute("embed", _rows(items, each), deadline, origin)
        except WinnowError:
            return
        taken = self._clock() - began + self._spec.overhead_s
        self.outcome.latency_s[number] = taken

    async def _compute(
        self, stage: Stage, rows: TokenRows, deadline: Deadline, origin: Origin
    ) -> None:
        self._arrivals.add(stage, origin.lane, rows.total_tokens)
        await self._batches[stage].submit(rows, deadline, origin)

    async def _scale(self) -> None:
        while True:
            now_s = self._clock()
            for name, stage in self.stages.items():
                stage.resize(self._policies[name].decide(self._observe(name, stage, now_s)))
                self.outcome.moments[name].append(
                    Moment(now_s, stage.target, len(stage.serving), stage.queued_tokens)
                )
            replicas = {
                name: [replica.stats() for replica in stage.serving]
                for name, stage in self.stages.items()
            }
            self._reported = self._arrivals.to_stats(), replicas
            await asyncio.sleep(self._spec.period_s)

    def _observe(self, name: Stage, stage: SimulatedStage, now_s: float) -> Observation:
        load: StageLoad | None = None
        if self._reported is not None:
            router, replicas = self._reported
            arrivals = arrivals_from_stats(name, router)
            signals = [StageSignals.from_stats(stats) for stats in replicas[name]]
            load = stage_load([arrivals], signals, self._spec.period_s)
        spec = stage.spec
        size = StageSize(stage.target, len(stage.serving), spec.lowest, spec.highest)
        return Observation(now_s, load, size, stage.calls)


def _rows(count: int, tokens: int) -> TokenRows:
    return TokenRows(np.zeros(count * tokens, np.int32), np.full(count, tokens, np.int32))


def simulate(
    spec: CellSpec,
    policies: dict[Stage, Policy],
    trace: Trace,
    seed: int = 0,
    events: Sequence[tuple[float, Event]] = (),
) -> Outcome:
    """Run the whole trace; each of `events` is applied to the stages at its time, seconds."""

    async def main() -> Outcome:
        cell = _Cell(spec, policies, trace, seed)
        for at_s, event in events:
            asyncio.get_running_loop().call_at(at_s, event, cell.stages)
        return await cell.run()

    return virtual_time.run(main())
