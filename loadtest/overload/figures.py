"""Figures of a load: how many requests were served, refused, late or lost, and how fast."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.overload.load import LoadResult
from loadtest.run.open_loop import Outcome

# Statuses with which an overloaded service may refuse a request, or give it up.
_REFUSED, _LATE = (429, 503), 504
# Queues grow until then.
_RAMP_S = 3.0


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds; nan without a sample."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> "Percentiles":
        ms = [1000 * one for one in seconds]
        p50, p99 = np.percentile(ms, (50, 99)) if ms else (np.nan, np.nan)
        return cls(float(p50), float(p99))

    def __str__(self) -> str:
        return f"{self.p50:.0f} / {self.p99:.0f}" if self.p50 == self.p50 else ""


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts, rates and percentiles of one load.

    `served` counts answers of 200 (the service sends none after the deadline), `refused` 429 and
    503, `late` 504, and `lost` the rest. `latency` counts from when a request was due, `refusal`
    from when it was sent; `client_late` is the time between the two. `served_per_s` leaves out the
    first seconds, in which queues fill.
    """

    offered_per_s: float
    served_per_s: float
    sent: int
    served: int
    refused: int
    late: int
    lost: int
    without_retry_after: int
    latency: Percentiles
    refusal: Percentiles
    client_late: Percentiles
    retry_after: Percentiles
    client_cores: float

    @classmethod
    def of(cls, sending: LoadResult, tenants: Sequence[str] = ()) -> "Figures":
        """Compute the figures of the `tenants`, or of all if none are named."""
        chosen = [one for one in sending.outcomes if not tenants or one.tenant in tenants]
        served = [one for one in chosen if one.answer.status == 200]
        refused = [one for one in chosen if one.answer.status in _REFUSED]
        late = [one for one in chosen if one.answer.status == _LATE]
        seconds = sending.ended_s - sending.began_s
        ramp_s = sending.began_s + min(_RAMP_S, seconds / 4)
        told = [one.answer.retry_after_s for one in refused]
        return cls(
            len(chosen) / seconds,
            sum(ramp_s < one.ended_s <= sending.ended_s for one in served)
            / (sending.ended_s - ramp_s),
            len(chosen),
            len(served),
            len(refused),
            len(late),
            len(chosen) - len(served) - len(refused) - len(late),
            told.count(None),
            Percentiles.of(one.latency_s for one in served),
            Percentiles.of(one.ended_s - one.sent_s for one in refused),
            Percentiles.of(one.client_late_s for one in chosen),
            Percentiles.of(one for one in told if one is not None),
            sending.client_cores,
        )


def problems(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the distinct messages of the lost requests, sorted."""
    expected = (200, _LATE, *_REFUSED)
    lost = [one.answer for one in outcomes if one.answer.status not in expected]
    return sorted({one.message or str(one.status) for one in lost})
