"""Readiness of the service: every stage has a replica that passed its golden check and answers.

Anyone may ask, so the stages are asked at most once a second, and those without a replica that
scaled to zero not at all: that would start one. The cluster is asked what is wrong with each, at
most every ten seconds while all are ready: that takes Serve's controller and the Router some work.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import Protocol

from deployments.batching.stage_status import StageStatus
from deployments.errors import WinnowError
from deployments.request.deadline import Clock, Deadline
from deployments.web.schemas import Readiness, StageReadiness

_TIMEOUT_S = 2.0
_CACHED_S = 1.0
_PROBLEMS_CACHED_S = 10.0
_SLEEPS = "scaled to zero: a request starts a replica"


class Stage(Protocol):
    def sleeps(self) -> bool:
        """Return whether it has scaled to zero, so that a call would start a replica."""
        ...

    async def status(self, deadline: Deadline) -> StageStatus | str:
        """Return a model stage's status or a store's durability. Raises WinnowError."""
        ...


class ReadinessProbe:
    """Asks the stages, and caches the answer. `problems` returns why a replica of a stage cannot
    start, for those of which that is known: others of the same stage may serve."""

    def __init__(
        self,
        stages: Mapping[str, Stage],
        problems: Callable[[], Awaitable[Mapping[str, str]]],
        clock: Clock,
    ) -> None:
        self._stages = stages
        self._ask_problems = problems
        self._clock = clock
        self._asking: asyncio.Task[Readiness] | None = None
        self._asked_s = 0.0
        self._problems: Mapping[str, str] = {}
        self._asked_problems_s = -math.inf

    async def readiness(self) -> Readiness:
        """Return the readiness, at most a second old; concurrent callers share one question."""
        asking = self._asking
        if asking is None or (asking.done() and self._clock() - self._asked_s >= _CACHED_S):
            # In no request's context: Serve would end it for all when that one's client is gone.
            self._asking = asking = asyncio.create_task(self._ask(), context=Context())
        return await asyncio.shield(asking)

    async def _ask(self) -> Readiness:
        """Ask all stages at once; one that does not answer in time is not ready."""
        deadline = Deadline.after(_TIMEOUT_S, self._clock)
        answers = await asyncio.gather(*(_one(one, deadline) for one in self._stages.values()))
        ready = all(stage.ready for stage in answers)
        await self._keep_problems(ready)
        by_stage = dict(zip(self._stages, answers, strict=True))
        for name, why in self._problems.items():
            by_stage[name] = by_stage[name].model_copy(update={"detail": why})
        self._asked_s = self._clock()
        return Readiness(ready=ready, stages=by_stage)

    async def _keep_problems(self, ready: bool) -> None:
        now_s = self._clock()
        if not ready or now_s - self._asked_problems_s >= _PROBLEMS_CACHED_S:
            self._problems = await self._ask_problems()
            # As soon as all are ready again, what was wrong has probably passed.
            self._asked_problems_s = now_s if ready else -math.inf


async def _one(stage: Stage, deadline: Deadline) -> StageReadiness:
    if stage.sleeps():
        return StageReadiness(ready=True, detail=_SLEEPS)
    try:
        status = await stage.status(deadline)
    except WinnowError as error:
        return StageReadiness(ready=False, detail=error.message)
    if isinstance(status, str):
        return StageReadiness(ready=True, durability=status)
    return StageReadiness(
        ready=True,
        model=status.model,
        fingerprint=status.fingerprint,
        queued_rows=status.queued_rows,
        queued_tokens=status.queued_tokens,
    )
