"""Readiness of the service: every stage has a replica that passed its golden check and answers."""

import asyncio
from collections.abc import Awaitable, Callable

from deployments.batching.stage_status import StageStatus
from deployments.errors import WinnowError
from deployments.request.deadline import Clock, Deadline
from deployments.web.schemas import Readiness, StageReadiness

_TIMEOUT_S = 2.0

Ask = Callable[[Deadline], Awaitable[StageStatus | str]]


async def readiness(stages: dict[str, Ask], clock: Clock) -> Readiness:
    """Ask all stages at once; a stage that does not answer in time is not ready."""
    deadline = Deadline.after(_TIMEOUT_S, clock)
    answers = await asyncio.gather(*(_one(ask, deadline) for ask in stages.values()))
    by_stage = dict(zip(stages, answers, strict=True))
    return Readiness(ready=all(stage.ready for stage in answers), stages=by_stage)


async def _one(ask: Ask, deadline: Deadline) -> StageReadiness:
    try:
        status = await ask(deadline)
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
