"""A histogram of seconds, as counters in Prometheus' form: buckets by `le`, and a sum.

Ray's own histogram costs its metrics agent a call in Python for each value, and its sum is made of
the middles of the buckets (Ray 2.60). This one costs a flush however many values there were, and
its sum is exact. Its names end in `_total`, as Ray names every counter.
"""

from bisect import bisect_left
from itertools import accumulate

from deployments.metrics.tally import Tally

_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_LE = (*(f"{bound:g}" for bound in _BOUNDS_S), "+Inf")


class Latencies:
    """Values by the values of `labels`; exported as NAME_bucket and NAME_sum."""

    def __init__(self, name: str, description: str, labels: tuple[str, ...]) -> None:
        self._buckets = Tally(f"{name}_bucket", f"{description}: how many, by le", (*labels, "le"))
        self._sum = Tally(f"{name}_sum", f"{description}: in all", labels)
        self._counts: dict[tuple[str, ...], list[int]] = {}

    def observe(self, values: tuple[str, ...], seconds: float) -> None:
        counts = self._counts.get(values)
        if counts is None:
            counts = self._begin(values)
        counts[bisect_left(_BOUNDS_S, seconds)] += 1
        self._sum.add(values, seconds)

    def flush(self) -> None:
        for values, counts in self._counts.items():
            if any(counts):
                for le, count in zip(_LE, accumulate(counts), strict=True):
                    self._buckets.add((*values, le), count)
                self._counts[values] = [0] * len(_LE)
        self._buckets.flush()
        self._sum.flush()

    def _begin(self, values: tuple[str, ...]) -> list[int]:
        counts = self._counts[values] = [0] * len(_LE)
        for le in _LE:
            self._buckets.begin((*values, le))
        return counts
