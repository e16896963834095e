"""What became of what was sent, in figures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.overload.load import Sending
from loadtest.run.open_loop import Outcome

# What a service that has too much to do may say.
_REFUSED, _LATE = (429, 503), 504
# Until queues are as long as they get.
_RAMP_S = 3.0


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds; nan where there was nothing."""

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
    """`served` in time (by the service's clock: it answers 200 to nothing late), `refused` at once,
    `late` ones were taken in and not done in time, and of `lost` ones no answer was right.
    Latencies count from when a request was due, refusals' from when it was sent; `client_late` is
    what lies between the two. `served_per_s` leaves out the first seconds, in which queues fill."""

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
    def of(cls, sending: Sending, tenants: Sequence[str] = ()) -> "Figures":
        """Of all tenants, or of those."""
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
    """What was neither served, refused nor late."""
    expected = (200, _LATE, *_REFUSED)
    lost = [one.answer for one in outcomes if one.answer.status not in expected]
    return sorted({one.message or str(one.status) for one in lost})
