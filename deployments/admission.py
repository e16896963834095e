"""One request of a tenant: what its plan lets in, what it was given.

Knows no HTTP and no backing: rates are asked of a limiter, and what was served is told to `settle`.
"""

from collections import Counter
from collections.abc import Callable
from typing import Literal

from deployments.errors import PayloadTooLarge, QuotaExceeded
from deployments.fair_queue import Lane, Origin
from deployments.plans import Plan, Plans
from deployments.quota.limiter import Limiter, Taken
from deployments.tenancy import Tenant

Unit = Literal["requests", "tokens"]

_RETRY_CONCURRENT_S = 1.0


class Call:
    """A tenant's request, from when its key is known to its answer.

    `limits` is what its plan said of it, for whoever writes the answer; `used` is (stage, tokens,
    cached tokens), for whoever writes the bill.
    """

    __slots__ = ("_admission", "_occupies", "limits", "plan", "tenant", "used")

    def __init__(self, tenant: Tenant, plan: Plan, admission: "Admission") -> None:
        self.tenant = tenant
        self.plan = plan
        self.limits: dict[Unit, Taken] = {}
        self.used: list[tuple[str, int, int]] = []
        self._admission = admission
        self._occupies = False

    async def enter(self) -> None:
        """Raises QuotaExceeded for one request too many, a minute or at once."""
        plan = self.plan
        if plan.requests_per_min is not None:
            await self._take("requests", 1, plan.requests_per_min)
        if plan.tokens_per_min is not None:
            await self._take("tokens", 0, plan.tokens_per_min)
        if plan.concurrent_requests is not None:
            self._admission.occupy(self.tenant.id, plan.concurrent_requests)
            self._occupies = True

    async def charge(self, tokens: int) -> None:
        """Before they are computed. Raises QuotaExceeded, or PayloadTooLarge for what would never
        be let in."""
        per_min = self.plan.tokens_per_min
        if per_min is None:
            return
        if tokens > per_min:
            raise PayloadTooLarge(
                f"this request has {tokens} tokens and the plan allows {per_min} a minute: send"
                " fewer or shorter texts at once (in a search, a lower top_k)"
            )
        await self._take("tokens", tokens, per_min)

    def count(self, stage: str, tokens: int, cached_tokens: int) -> None:
        """A stage has done this much; it is billed when the request has been served."""
        self.used.append((stage, tokens, cached_tokens))

    def served(self) -> None:
        """To be called before the answer leaves."""
        if self.used:
            self._admission.settle(self.tenant.id, self.used)

    def leave(self) -> None:
        """To be called in the end, whatever became of the request."""
        if self._occupies:
            self._occupies = False
            self._admission.release(self.tenant.id)

    def origin(self, lane: Lane) -> Origin:
        """Raises LaneNotAllowed."""
        return Origin(self.tenant.id, self.plan.lane(lane), self.plan.weight)

    async def _take(self, unit: Unit, cost: int, per_min: int) -> None:
        limiter = self._admission.limiter
        taken = await limiter.take(f"{self.tenant.id}:{unit}", cost, per_min)
        self.limits[unit] = taken
        if not taken.granted:
            raise QuotaExceeded(
                f"the plan allows {per_min} {unit} a minute, and they are used up: try again in"
                f" {taken.retry_s:.1f} s",
                retry_after_s=taken.retry_s,
            )


class Admission:
    """`replicas` share a tenant's concurrent requests in equal parts, each counting its own."""

    def __init__(
        self,
        limiter: Limiter,
        replicas: Callable[[], int],
        settle: Callable[[str, list[tuple[str, int, int]]], None],
    ) -> None:
        self.plans = Plans()
        self.limiter = limiter
        self.settle = settle
        self._replicas = replicas
        self._running: Counter[str] = Counter()

    def call(self, tenant: Tenant) -> Call:
        return Call(tenant, self.plans.of(tenant.plan), self)

    def occupy(self, tenant: str, limit: int) -> None:
        """Raises QuotaExceeded. Otherwise `release` is owed."""
        if self._running[tenant] >= -(-limit // self._replicas()):
            raise QuotaExceeded(
                f"the plan allows {limit} requests at once, and as many are under way: wait for"
                " one of them",
                retry_after_s=_RETRY_CONCURRENT_S,
            )
        self._running[tenant] += 1

    def release(self, tenant: str) -> None:
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]
