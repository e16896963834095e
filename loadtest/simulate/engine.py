"""An engine in virtual time, which the batches of several slots share as they share vLLM's.

vLLM computes in steps. A step takes the rows that wait, in order of arrival and of whichever batch,
up to `max_num_batched_tokens` and `max_num_seqs`, and a batch is done with the step of its last row
(vllm/v1/core/sched/scheduler.py, `schedule`). So a batch alone has the whole engine. Two have
together what one has, and what sharing saves: the fixed time of steps that hold rows of both, and
the handing over of one while the other is computed. Knows no queue and no policy.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from loadtest.simulate.service_times import ServiceTimes


class StepLimits(BaseModel):
    """Limits of a step, by vLLM's names; a longer row is computed alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_num_batched_tokens: int = Field(gt=0)
    max_num_seqs: int = Field(gt=0)


@dataclass(slots=True)
class _Batch:
    """The lengths of the rows that wait for a step, int32 [rows]."""

    waiting: NDArray[np.int32]
    done: asyncio.Future[None]


class SimulatedEngine:
    """Call `compute` for each batch, as many at a time as the replica has slots for it."""

    def __init__(self, times: ServiceTimes, limits: StepLimits) -> None:
        self.batches = 0
        self._times = times
        self._limits = limits
        self._waiting: deque[_Batch] = deque()
        self._steps: asyncio.Task[None] | None = None

    async def compute(self, lengths: NDArray[np.int32]) -> None:
        """Return when the last row of these lengths, int32 [rows], was computed."""
        self.batches += 1
        try:
            if hand_over_s := self._times.hand_over_s(len(lengths)):
                await asyncio.sleep(hand_over_s)
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(_Batch(lengths, done))
            if self._steps is None:
                self._steps = asyncio.create_task(self._run())
            await done
        finally:
            self.batches -= 1

    async def _run(self) -> None:
        while self._waiting:
            lengths, done = self._take_step()
            await asyncio.sleep(self._times.step_s(lengths))
            for batch in done:
                batch.done.set_result(None)
        self._steps = None

    def _take_step(self) -> tuple[NDArray[np.int32], list[_Batch]]:
        """Take the rows of the next step, and the batches that it completes."""
        taken: list[NDArray[np.int32]] = []
        done: list[_Batch] = []
        tokens, rows = self._limits.max_num_batched_tokens, self._limits.max_num_seqs
        while self._waiting and rows:
            batch = self._waiting[0]
            count = int(np.searchsorted(np.cumsum(batch.waiting), tokens, side="right"))
            count = min(rows, count if taken else max(1, count))
            if not count:
                break
            taken.append(batch.waiting[:count])
            batch.waiting = batch.waiting[count:]
            tokens -= int(taken[-1].sum())
            rows -= count
            if len(batch.waiting):
                break
            done.append(self._waiting.popleft())
        return np.concatenate(taken), done
