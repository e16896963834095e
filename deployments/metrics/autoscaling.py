"""Metrics of the autoscaling policy: its inputs and decisions. Serve's controller runs it.

Ray exports the targets themselves.
"""

from collections.abc import Mapping

from ray.serve import metrics

from deployments.request.origin import Lane


class AutoscalingMetrics:
    """Labelled with the deployment that is sized, as Ray labels its own of a target."""

    def __init__(self) -> None:
        def gauge(name: str, description: str, *labels: str) -> metrics.Gauge:
            keys = ("deployment", *labels)
            return metrics.Gauge(name, description, tag_keys=keys)  # type: ignore[arg-type] # a tuple of one

        self._arriving = gauge(
            "winnow_autoscaling_arriving_tokens_per_second",
            "Tokens a second that arrive for a stage, as the policy takes it",
            "lane",
        )
        self._queued = gauge(
            "winnow_autoscaling_queued_tokens",
            "Tokens that wait in a stage, as the policy takes it",
            "lane",
        )
        self._replica = gauge(
            "winnow_autoscaling_replica_tokens_per_second",
            "Tokens a second that a replica was measured to compute; 0 before it was",
        )
        self._fresh = gauge(
            "winnow_autoscaling_signals_fresh",
            "1 if enough replicas reported in time for a decision, else 0: the size stays",
        )
        self._highest = gauge(
            "winnow_autoscaling_max_replicas", "The most replicas that the policy may ask for"
        )

    def bounded(self, deployment: str, highest: int, fresh: bool) -> None:
        tags = {"deployment": deployment}
        self._highest.set(highest, tags)
        self._fresh.set(int(fresh), tags)

    def told(
        self,
        deployment: str,
        arriving_tokens_per_s: Mapping[Lane, float],
        queued_tokens: Mapping[Lane, float],
        replica_tokens_per_s: float | None,
    ) -> None:
        for lane, rate in arriving_tokens_per_s.items():
            self._arriving.set(rate, {"deployment": deployment, "lane": lane})
        for lane, tokens in queued_tokens.items():
            self._queued.set(tokens, {"deployment": deployment, "lane": lane})
        self._replica.set(replica_tokens_per_s or 0.0, {"deployment": deployment})
