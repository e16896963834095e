"""A counter that is summed in this process and handed to Ray when it is flushed.

A call of Ray's counter takes microseconds, one of `add` a fraction of one.
"""

from ray.serve import metrics

# Ray's counters take no 0, and a quantile would be wrong without the buckets that are empty.
_NOTHING = 1e-9


class Tally:
    """Amounts by the values of `labels`."""

    def __init__(self, name: str, description: str, labels: tuple[str, ...]) -> None:
        self._counter = metrics.Counter(
            name,
            description,
            tag_keys=labels,  # type: ignore[arg-type] # Ray annotates a tuple of one
        )
        self._labels = labels
        self._pending: dict[tuple[str, ...], float] = {}

    def begin(self, values: tuple[str, ...]) -> None:
        """Export the series before anything is counted in it."""
        self._pending.setdefault(values, _NOTHING)

    def add(self, values: tuple[str, ...], amount: float = 1) -> None:
        self._pending[values] = self._pending.get(values, 0.0) + amount

    def flush(self) -> None:
        """Hand to Ray what was added since the last time."""
        pending, self._pending = self._pending, {}
        for values, amount in pending.items():
            if amount > 0:
                self._counter.inc(amount, dict(zip(self._labels, values, strict=True)))
