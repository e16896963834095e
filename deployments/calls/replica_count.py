"""The number of running replicas of a deployment, as Serve's controller has it.

What a replica is told of itself at its start is the number in its configuration, which no
autoscaler changes.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from ray import serve

logger = logging.getLogger(__name__)

_PERIOD_S = 5.0


class ReplicaCount:
    """Call it for the number, at least 1, which is as old as the last `refresh`."""

    def __init__(self, ask: Callable[[], int]) -> None:
        self._ask = ask
        self._count = 1
        self._failed = False

    def __call__(self) -> int:
        return self._count

    async def refresh(self) -> None:
        """Ask, on a thread, for it blocks. While the controller is away the number stays."""
        try:
            self._count = max(1, await asyncio.to_thread(self._ask))
            self._failed = False
        except Exception:  # whatever Ray raises
            if not self._failed:
                logger.exception("the number of replicas is not known: it stays %d", self._count)
            self._failed = True

    async def run(self) -> None:
        """Refresh every five seconds, for ever."""
        while True:
            await self.refresh()
            await asyncio.sleep(_PERIOD_S)


def own_replicas() -> int:
    """Ask the controller for the running replicas of this replica's own deployment; it blocks."""
    own = serve.get_replica_context()
    application = serve.status().applications[own.app_name]
    # Declared as an enumeration; they come as plain strings.
    states = cast(dict[str, int], application.deployments[own.deployment].replica_states)
    return states.get("RUNNING", 0)
