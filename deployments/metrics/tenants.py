"""Usage, limits and outcomes by tenant, of as many tenants as a monitoring system can bear.

Every name is a time series that never ends: the first `max_tenants` are told by name, the rest in
sum.
"""

from ray.serve import metrics

from deployments.metrics.tally import Tally

OTHERS = "(others)"


class TenantNames:
    """The tenants that are told by name."""

    def __init__(self, max_tenants: int = 200) -> None:
        self._max_tenants = max_tenants
        self._named: set[str] = set()

    def of(self, tenant: str) -> str:
        if tenant in self._named:
            return tenant
        if len(self._named) >= self._max_tenants:
            return OTHERS
        self._named.add(tenant)
        return tenant


class TenantMetrics:
    """Tokens served to tenants, the outcomes of their requests, and the limits of their plans."""

    def __init__(self, max_tenants: int = 200) -> None:
        self._names = TenantNames(max_tenants)
        self._tokens = metrics.Counter(
            "winnow_tenant_tokens",
            "Tokens that a tenant was served, by whether they were found in a cache",
            tag_keys=("tenant", "stage", "cached"),  # type: ignore[arg-type] # a tuple of one
        )
        self._requests = Tally(
            "winnow_tenant_requests",
            "Requests of a tenant by outcome: ok, or the code of the error",
            ("tenant", "outcome"),
        )
        self._limit = metrics.Gauge(
            "winnow_tenant_limit_tokens_per_minute",
            "Tokens a minute that the plan of a tenant allows; none for one without a limit",
            tag_keys=("tenant",),
        )
        self._limits: dict[str, int] = {}

    def observe(self, tenant: str, stage: str, tokens: int, cached_tokens: int) -> None:
        tenant = self._names.of(tenant)
        for cached, count in (("no", tokens - cached_tokens), ("yes", cached_tokens)):
            if count:
                self._tokens.inc(count, {"tenant": tenant, "stage": stage, "cached": cached})

    def answered(self, tenant: str, outcome: str, limit_tokens_per_min: int | None) -> None:
        name = self._names.of(tenant)
        self._requests.add((name, outcome))
        if name is OTHERS:
            return
        if limit_tokens_per_min is None:
            self._limits.pop(name, None)
        else:
            self._limits[name] = limit_tokens_per_min

    def report(self) -> None:
        self._requests.flush()
        for name, limit in self._limits.items():
            self._limit.set(limit, {"tenant": name})
