"""Limits of the searches of an index's replica. Knows no Ray, so that a profile can be checked."""

from pydantic import BaseModel, ConfigDict, Field

from deployments.batching.batcher import BatchLimits


class SearchLimits(BaseModel):
    """Limits of searches that may change while the replica runs.

    `slots` calls to the store at a time, each with at most `max_batch_searches` of one tenant that
    take about `max_batch_ms`. A search is refused that would have more than `max_queued_ms` done
    before it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    slots: int = Field(default=2, gt=0)
    max_batch_searches: int = Field(default=64, gt=0)
    max_batch_ms: int = Field(default=50, gt=0)
    max_queued_ms: int = Field(default=60_000, gt=0)

    def of_batches(self) -> BatchLimits:
        return BatchLimits(
            max_batch_tokens=self.max_batch_ms,
            max_batch_rows=self.max_batch_searches,
            turn_tokens=self.max_batch_ms,
            max_queued_tokens=self.max_queued_ms,
            slots=self.slots,
        )
