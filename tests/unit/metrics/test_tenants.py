"""Tenants by name, up to a bound."""

from deployments.metrics.tenants import TenantMetrics
from tests.unit.metrics.recorded import Recorded, recorded

__all__ = ["recorded"]


def test_the_first_tenants_are_told_by_name_and_the_rest_in_sum(recorded: Recorded) -> None:
    metrics = TenantMetrics(max_tenants=2)
    for tenant in ("a", "b", "c", "a", "d"):
        metrics.answered(tenant, "ok", 100)
        metrics.observe(tenant, "embed", 10, 4)
    metrics.answered("a", "rate_limit_exceeded", 100)
    metrics.report()
    assert recorded.of("winnow_tenant_requests", tenant="a", outcome="ok") == 2
    assert recorded.of("winnow_tenant_requests", tenant="a", outcome="rate_limit_exceeded") == 1
    assert recorded.of("winnow_tenant_requests", tenant="(others)", outcome="ok") == 2
    assert recorded.of("winnow_tenant_tokens", tenant="(others)", stage="embed", cached="no") == 12
    assert recorded.series("winnow_tenant_requests") == 4
    assert recorded.series("winnow_tenant_limit_tokens_per_minute") == 2


def test_a_limit_is_told_as_long_as_the_plan_has_it(recorded: Recorded) -> None:
    metrics = TenantMetrics()
    metrics.answered("a", "ok", 100)
    metrics.report()
    assert recorded.of("winnow_tenant_limit_tokens_per_minute", tenant="a") == 100
    metrics.answered("a", "ok", None)
    calls = recorded.calls
    metrics.report()
    assert recorded.calls == calls + 1, "the request, and no limit"
