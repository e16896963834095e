"""The golden canary of a model's replica: whether it still gives known answers."""

from ray.serve import metrics

# Ray exports every ten seconds: a replica that ends sooner has told nothing.
EXPORT_S = 11.0


class CanaryMetrics:
    def __init__(self, stage: str) -> None:
        self._passed = metrics.Gauge(
            "winnow_golden_passed",
            "1 if the replica's last check of its golden answers passed, else 0",
            tag_keys=("stage",),
        )
        self._tags = {"stage": stage}

    def report(self, passed: bool) -> None:
        self._passed.set(int(passed), self._tags)
