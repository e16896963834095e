"""The outcomes of a run as columns, with shares, percentiles and a timeline. Knows no objective."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from loadtest.run.open_loop import Outcome

_BINS = 50


@dataclass(frozen=True, slots=True)
class Results:
    """One entry a request, in the order in which they were due.

    Seconds count from the start of the run. `latency_s` counts from when a request was due, for
    failed requests too. `errors` are empty for answered requests.
    """

    due_s: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    client_late_s: NDArray[np.float64]
    retried: NDArray[np.bool_]
    degraded: NDArray[np.bool_]
    errors: NDArray[np.str_]
    routes: NDArray[np.str_]
    tenants: NDArray[np.str_]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], start_s: float) -> Self:
        ordered = sorted(outcomes, key=lambda one: one.due_s)
        return cls(
            np.array([one.due_s - start_s for one in ordered], np.float64),
            np.array([one.latency_s for one in ordered], np.float64),
            np.array([one.client_late_s for one in ordered], np.float64),
            np.array([one.tries > 1 for one in ordered], np.bool_),
            np.array([one.answer.degraded for one in ordered], np.bool_),
            np.array([one.answer.error or "" for one in ordered], np.str_),
            np.array([one.route for one in ordered], np.str_),
            np.array([one.tenant for one in ordered], np.str_),
        )

    def __len__(self) -> int:
        return len(self.due_s)

    def where(self, chosen: NDArray[np.bool_]) -> "Results":
        return Results(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @property
    def failed(self) -> NDArray[np.bool_]:
        failed: NDArray[np.bool_] = self.errors != ""
        return failed

    def percentile_ms(self, percent: float) -> float:
        """Percentile of the latency of answered requests; nan if there are none."""
        answered = self.latency_s[~self.failed]
        return float(1000 * np.percentile(answered, percent)) if len(answered) else float("nan")

    def failed_share(self) -> float:
        return float(self.failed.mean()) if len(self) else float("nan")

    def share_within(self, seconds: float) -> float:
        """Share of all requests that were answered within `seconds`; nan if there are none."""
        good = ~self.failed & (self.latency_s <= seconds)
        return float(good.mean()) if len(self) else float("nan")

    def summary(self) -> dict[str, Any]:
        seen = Counter(str(error) for error in self.errors if error)
        return {
            "sent": len(self),
            "failed": int(self.failed.sum()),
            "errors": dict(seen.most_common()),
            "cut_then_answered": int((self.retried & ~self.failed).sum()),
            "degraded": int(self.degraded.sum()),
            "p50_ms": rounded(self.percentile_ms(50)),
            "p99_ms": rounded(self.percentile_ms(99)),
        }

    def client_late_ms(self) -> dict[str, float]:
        """Percentiles of the delay between when requests were due and when the client sent them."""
        late = 1000 * self.client_late_s if len(self) else np.zeros(1)
        p50, p99 = np.percentile(late, (50, 99))
        return {
            "p50": round(float(p50), 1),
            "p99": round(float(p99), 1),
            "max": round(late.max(), 1),
        }

    def timeline(self) -> dict[str, Any]:
        """Rates and percentiles in bins of `bin_s` seconds.

        Answered requests count in the bin in which they ended, the others and the percentiles in
        the bin in which they were due; a percentile is None without an answer.
        """
        ended_s = self.due_s + self.latency_s
        last_s = float(ended_s.max(initial=1))
        bin_s = max(1, round(last_s / _BINS))
        edges = np.arange(0, last_s + bin_s, bin_s)
        bins = np.digitize(self.due_s, edges) - 1
        groups = [self.where(bins == number) for number in range(len(edges) - 1)]

        def rate(times: NDArray[np.float64]) -> list[float]:
            return [round(float(one), 2) for one in np.histogram(times, edges)[0] / bin_s]

        return {
            "bin_s": bin_s,
            "offered_per_s": rate(self.due_s),
            "answered_per_s": rate(ended_s[~self.failed]),
            "failed_per_s": rate(self.due_s[self.failed]),
            "p50_ms": [rounded(group.percentile_ms(50)) for group in groups],
            "p99_ms": [rounded(group.percentile_ms(99)) for group in groups],
        }


def rounded(figure: float, digits: int = 1) -> float | None:
    """Round a figure; nan becomes None, since JSON has no nan."""
    return None if np.isnan(figure) else round(figure, digits)
