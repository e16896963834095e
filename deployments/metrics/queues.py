"""The queue of a stage's replica: how much waits, how long the oldest has, how long work waited."""

from collections.abc import Mapping

from ray.serve import metrics

from deployments.metrics.latencies import Latencies
from deployments.request.origin import Lane


class QueueMetrics:
    """`waited` for each call of a Router, when the last of its rows leaves the queue."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._waits = Latencies(
            "winnow_queue_seconds",
            "Time that the rows of a call waited in a stage's queue, in seconds",
            ("stage", "lane"),
        )
        self._tokens = metrics.Gauge(
            "winnow_queued_tokens",
            "Tokens that wait in the queue of a replica",
            tag_keys=("stage", "lane"),  # type: ignore[arg-type] # Ray annotates a tuple of one
        )
        self._oldest_s = metrics.Gauge(
            "winnow_queue_oldest_seconds",
            "Age of the oldest work outside bulk that waits in the queue of a replica, in seconds",
            tag_keys=("stage",),
        )

    def waited(self, lane: Lane, seconds: float) -> None:
        self._waits.observe((self._stage, lane), seconds)

    def report(self, oldest_s: float, tokens: Mapping[Lane, float]) -> None:
        """Set the gauges, and hand over what waited. `tokens` is empty where costs are no
        tokens."""
        self._waits.flush()
        self._oldest_s.set(oldest_s, {"stage": self._stage})
        for lane, queued in tokens.items():
            self._tokens.set(queued, {"stage": self._stage, "lane": lane})
