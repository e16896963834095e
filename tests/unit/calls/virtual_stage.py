"""A model stage in virtual time: a Router's client of it and the stage's batcher, as they are,
before an engine that only keeps time."""

import asyncio
import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.autoscaling.arrivals import Arrivals
from deployments.batching.batcher import Batcher, BatchLimits
from deployments.calls.model_client import ModelStageClient
from deployments.config import CallLimits
from deployments.errors import DeadlineExceeded, Overloaded, WinnowError
from deployments.request.deadline import Deadline
from deployments.request.origin import Lane, Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from tests.whole.app import handle

CALL_LIMITS = CallLimits(tokens=1024, at_once=4)
# One way between Router and replica: of a call, and of its answer.
WAY_S = 0.004


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds for a batch: a fixed time and a time a token, up to `noise` of it more or less.

    Several slots have an engine `each`, or share one, on which their batches take turns.
    """

    tokens_per_s: float
    batch_s: float = 0.0
    noise: float = 0.0
    each: bool = False

    def seconds(self, tokens: float) -> float:
        """Average for a batch of so many tokens."""
        return self.batch_s + tokens / self.tokens_per_s


class Engine:
    """Sleeps as long as a batch takes; `slower` times as long if something else takes its cores."""

    def __init__(self, pace: Pace, seed: int = 0) -> None:
        self.slower = 1.0
        self.computed_tokens = 0
        # End of all given work, where the slots share one engine.
        self.busy_until_s = 0.0
        self._pace = pace
        self._random = random.Random(seed)
        self._clock = asyncio.get_running_loop().time

    async def compute(self, rows: TokenRows) -> ModelOutput:
        now_s, noise = self._clock(), self._pace.noise
        takes_s = self._pace.seconds(rows.total_tokens) * self.slower
        if noise:
            takes_s *= self._random.uniform(1 - noise, 1 + noise)
        begins_s = now_s if self._pace.each else max(now_s, self.busy_until_s)
        ends_s = begins_s + takes_s
        self.busy_until_s = max(self.busy_until_s, ends_s)
        await asyncio.sleep(ends_s - now_s)
        self.computed_tokens += rows.total_tokens
        return ModelOutput.uncached(np.zeros(len(rows), np.float32))


class Replica:
    """Called as a deployment is; returns refusals as a ModelReplica does."""

    def __init__(self, limits: BatchLimits, engine: Engine) -> None:
        clock = asyncio.get_running_loop().time
        self.batcher: Batcher[TokenRows, ModelOutput] = Batcher(self._compute, clock, limits)
        self.calls = 0
        # At the start of a batch.
        self.most_queued = 0.0
        self._engine = engine

    async def embed(
        self, rows: TokenRows, left_s: float, origin: Origin, _: str
    ) -> ModelOutput | WinnowError:
        self.calls += 1
        # Timers of one instant end in any order; calls arrive in that in which they were made.
        await asyncio.sleep(WAY_S + 1e-9 * self.calls)
        try:
            output = await self.batcher.submit(rows, left_s - WAY_S, origin)
        except (Overloaded, DeadlineExceeded) as refusal:
            return refusal
        await asyncio.sleep(WAY_S)
        return output.with_fingerprint("model")

    async def _compute(self, rows: TokenRows) -> ModelOutput:
        self.most_queued = max(self.most_queued, self.batcher.queued_cost)
        return await self._engine.compute(rows)


class Service:
    """A Router's client of one replica."""

    def __init__(self, limits: BatchLimits, pace: Pace, seed: int = 0) -> None:
        self.clock = asyncio.get_running_loop().time
        self.engine = Engine(pace, seed)
        self.replica = Replica(limits, self.engine)
        self._client = ModelStageClient(
            "embed", handle(self.replica), "", CALL_LIMITS, Arrivals(self.clock)
        )

    async def ask(
        self,
        lengths: list[int] | NDArray[np.int32],
        timeout_s: float = 30.0,
        lane: Lane = "default",
        tenant: str = "a",
    ) -> float:
        """Seconds that the answer took; raises what a Router would answer."""
        widths = np.asarray(lengths, np.int32)
        rows = TokenRows(np.zeros(int(widths.sum()), np.int32), widths)
        began_s = self.clock()
        deadline, origin = Deadline.after(timeout_s, self.clock), Origin(tenant, lane)
        self._client.admit(rows.total_tokens, deadline, origin)
        await self._client.compute(rows, deadline, origin)
        return self.clock() - began_s
