"""The load of every replica of every stage, for operators.

One call to each, so not for hot paths.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from deployments.batching.replica_load import ReplicaLoad
from deployments.errors import WinnowError
from deployments.web.schemas import ReplicaBody, ReplicaList

_TIMEOUT_S = 2.0


class Stage(Protocol):
    async def loads(self, timeout_s: float) -> Sequence[ReplicaLoad]:
        """Return the load of each replica. Raises WinnowError."""
        ...


async def replica_loads(stages: Mapping[str, Stage]) -> ReplicaList:
    """Ask all stages at once; one that does not answer in two seconds is `silent`."""
    answers = await asyncio.gather(*(_ask(stage) for stage in stages.values()))
    by_stage = dict(zip(stages, answers, strict=True))
    return ReplicaList(
        stages={
            name: sorted(map(ReplicaBody.model_validate, loads), key=lambda one: one.replica)
            for name, loads in by_stage.items()
            if loads is not None
        },
        silent=[name for name, loads in by_stage.items() if loads is None],
    )


async def _ask(stage: Stage) -> Sequence[ReplicaLoad] | None:
    try:
        return await stage.loads(_TIMEOUT_S)
    except WinnowError:
        return None
