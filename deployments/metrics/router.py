"""Metrics of a Router: its answers by route and status, the time in each stage, their readiness."""

from collections.abc import Mapping

from ray.serve import metrics

from deployments.metrics.latencies import Latencies
from deployments.metrics.tally import Tally
from deployments.metrics.tenants import TenantMetrics


class RouterMetrics:
    """`route` is a template such as `/v1/collections/{name}`.

    Ray has the latency of a route. In front of a Router it has the status without the route, since
    HAProxy knows none.
    """

    def __init__(self, tenants: TenantMetrics) -> None:
        self._tenants = tenants
        self._requests = Tally(
            "winnow_requests", "Answers of a Router, by route and status", ("route", "status")
        )
        self._stages = Latencies(
            "winnow_stage_seconds",
            "Time that a Router spent in or waited for a stage of a request, in seconds",
            ("stage",),
        )
        self._ready = metrics.Gauge(
            "winnow_stage_ready",
            "1 if the stage answers this Router or sleeps, else 0",
            tag_keys=("stage",),
        )

    def answered(self, route: str, status: int) -> None:
        self._requests.add((route, str(status)))

    def of_tenant(self, tenant: str, outcome: str, limit_tokens_per_min: int | None) -> None:
        self._tenants.answered(tenant, outcome, limit_tokens_per_min)

    def spent(self, stage: str, seconds: float) -> None:
        self._stages.observe((stage,), seconds)

    def ready(self, stages: Mapping[str, bool]) -> None:
        for stage, is_ready in stages.items():
            self._ready.set(int(is_ready), {"stage": stage})

    def report(self) -> None:
        self._tenants.report()
        self._requests.flush()
        self._stages.flush()
