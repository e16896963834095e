"""One request of a tenant: what its plan lets in, what it was given.

Knows no HTTP and no backing: rates are asked of a limiter, and what was served is told to `settle`.
"""

from collections.abc import Callable
from typing import Literal

from deployments.errors import PayloadTooLarge, QuotaExceeded
from deployments.request.deadline import Deadline
from deployments.request.origin import Lane, Origin
from deployments.tenants.api_keys import Tenant
from deployments.tenants.concurrency import ConcurrencySlots
from deployments.tenants.plans import Plan, Plans
from deployments.tenants.rate_limits.limiter import Limiter, RateDecision

Unit = Literal["requests", "tokens"]

_RETRY_CONCURRENT_S = 1.0


class Admitted:
    """A tenant's request, from when its key is known to its answer.

    `deadline` is what its query asked for, if it did; `limits` is what its plan said of it, for
    whoever writes the answer; `used` is (stage, tokens, cached tokens), for whoever writes the
    bill.
    """

    __slots__ = ("_admission", "_occupies", "deadline", "limits", "plan", "tenant", "used")

    def __init__(self, tenant: Tenant, plan: Plan, admission: "Admission") -> None:
        self.tenant = tenant
        self.plan = plan
        self.deadline: Deadline | None = None
        self.limits: dict[Unit, RateDecision] = {}
        self.used: list[tuple[str, int, int]] = []
        self._admission = admission
        self._occupies = False

    async def enter(self) -> None:
        """Raises Overloaded or, for one request too many, a minute or at once, QuotaExceeded."""
        plan = self.plan
        self._admission.occupy(self.tenant.id, plan)
        self._occupies = True
        if plan.requests_per_min is not None:
            await self._take("requests", 1, plan.requests_per_min)
        if plan.tokens_per_min is not None:
            await self._take("tokens", 0, plan.tokens_per_min)

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

    def record_usage(self) -> None:
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
        self.slots = ConcurrencySlots(self.plans.requests_at_once)
        self._replicas = replicas

    def begin(self, tenant: Tenant) -> Admitted:
        return Admitted(tenant, self.plans.of(tenant.plan), self)

    def configure(self, plans: Plans) -> None:
        self.plans = plans
        self.slots.total = plans.requests_at_once

    def occupy(self, tenant: str, plan: Plan) -> None:
        """Raises QuotaExceeded, or Overloaded. Otherwise `release` is owed."""
        limit = plan.concurrent_requests
        if limit is not None and self.slots.held(tenant) >= -(-limit // self._replicas()):
            raise QuotaExceeded(
                f"the plan allows {limit} requests at once, and as many are under way: wait for"
                " one of them",
                retry_after_s=_RETRY_CONCURRENT_S,
            )
        self.slots.acquire(tenant, plan.weight)

    def release(self, tenant: str) -> None:
        self.slots.release(tenant)
