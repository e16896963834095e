"""Values that the metrics of a test hand to Ray."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest
from ray.util.metrics import Metric

Labels = frozenset[tuple[str, str]]


class Recorded:
    """Values by metric and labels: sums of what counters and histograms were given, and the last of
    a gauge."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._values: dict[str, dict[Labels, float]] = defaultdict(dict)
        self.calls = 0

        def record(metric: Metric, value: float, tags: Mapping[str, str] | None = None) -> None:
            self._record(metric, value, tags)

        monkeypatch.setattr(Metric, "_record", record)

    def _record(self, metric: Any, value: float, tags: Mapping[str, str] | None = None) -> None:
        self.calls += 1
        given = metric._get_final_tags(tags)
        metric._validate_tags(given)
        name, labels = metric.info["name"], frozenset(given.items())
        before = 0.0 if type(metric).__name__ == "Gauge" else self._values[name].get(labels, 0.0)
        self._values[name][labels] = before + value

    def of(self, name: str, **labels: str) -> float | None:
        """The value of a series; None of one that there is not."""
        return self._values[name].get(frozenset(labels.items()))

    def clear(self) -> None:
        self._values.clear()

    def series(self, name: str) -> int:
        return len(self._values[name])


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    return Recorded(monkeypatch)
