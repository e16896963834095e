"""The work of one replica: what waits in its queue, and what it has done since its start.

Plain values, that cross between replicas.
"""

from dataclasses import dataclass
from typing import Any

from deployments.batching.batcher import Batcher
from deployments.batching.replica_id import own_id


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """`replica` is Serve's id of it. Costs are tokens at a model stage, and estimated milliseconds
    of the store at the index."""

    replica: str
    queued_rows: int
    queued_cost: float
    oldest_wait_s: float
    batches_done: int
    cost_done: int

    @classmethod
    def of(cls, batcher: Batcher[Any, Any]) -> "ReplicaLoad":
        """The load of this process's replica."""
        return cls(
            own_id(),
            batcher.queued_rows,
            batcher.queued_cost,
            batcher.oldest_wait_s(),
            batcher.batches_done,
            batcher.cost_done,
        )
