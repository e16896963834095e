"""Status of a model stage's replica, as plain values that cross between replicas."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StageStatus:
    """A replica that answers this has passed its golden check. Queue figures are its own."""

    model: str
    fingerprint: str
    queued_rows: int
    queued_tokens: int
