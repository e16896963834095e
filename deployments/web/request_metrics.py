"""Labels by which every answer is counted: its route and status, its tenant and outcome.

Knows no metrics system and no dialect.
"""

from typing import Protocol

from deployments.web.ended_request import EndedRequest

# Prometheus drops a label without a value.
NO_ROUTE = "(none)"


class RequestMetrics(Protocol):
    """`route` is a template, NO_ROUTE for a path without one. `outcome` is `ok`, or the code of the
    error."""

    def answered(self, route: str, status: int) -> None: ...
    def of_tenant(self, tenant: str, outcome: str, limit_tokens_per_min: int | None) -> None: ...
    def spent(self, stage: str, seconds: float) -> None: ...


class _NoMetrics:
    def answered(self, route: str, status: int) -> None:
        pass

    def of_tenant(self, tenant: str, outcome: str, limit_tokens_per_min: int | None) -> None:
        pass

    def spent(self, stage: str, seconds: float) -> None:
        pass


NO_METRICS: RequestMetrics = _NoMetrics()


def count(metrics: RequestMetrics, ended: EndedRequest) -> None:
    """Count a request that has ended."""
    metrics.answered(ended.route or NO_ROUTE, ended.status)
    if ended.call is not None:
        plan = ended.call.plan
        metrics.of_tenant(ended.call.tenant.id, ended.error or "ok", plan.tokens_per_min)
