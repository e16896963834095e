"""Admission of one tenant's request: concurrency slots, rate limits, and its usage for the bill.

Knows no HTTP, no rate-limit backend and no usage store: a limiter and a callback are passed in.
"""

from collections.abc import Callable
from typing import Literal

from deployments.errors import PayloadTooLarge, QuotaExceeded
from deployments.request.deadline import Deadline
from deployments.request.origin import Lane, Origin
from deployments.request.timings import Timings
from deployments.tenants.api_keys import Tenant
from deployments.tenants.concurrency import ConcurrencySlots
from deployments.tenants.plans import Plan, Plans
from deployments.tenants.rate_limits.limiter import Limiter, RateDecision

Unit = Literal["requests", "tokens"]

_RETRY_CONCURRENT_S = 1.0
# A body takes a slot more for each of these: all slots of a Router hold 250 MB, and what is parsed
# of them.
_SLOT_BYTES = 512 * 1024


class Admitted:
    """A tenant's HTTP request, from the moment its key is known until its response.

    `deadline` is the one its query string asked for, or None. `limits` holds the rate decisions
    for the response headers. `usage` holds (stage, tokens, cached tokens) for the bill. `timings`
    are those of its stages, None until one is to run; `degraded` names those that were left out.
    """

    __slots__ = (
        "_admission",
        "_slots",
        "deadline",
        "degraded",
        "limits",
        "plan",
        "tenant",
        "timings",
        "usage",
    )

    def __init__(self, tenant: Tenant, plan: Plan, admission: "Admission") -> None:
        self.tenant = tenant
        self.plan = plan
        self.deadline: Deadline | None = None
        self.limits: dict[Unit, RateDecision] = {}
        self.usage: list[tuple[str, int, int]] = []
        self.timings: Timings | None = None
        self.degraded: tuple[str, ...] = ()
        self._admission = admission
        self._slots = 0

    async def enter(self, body_bytes: int = 0) -> None:
        """Take concurrency slots, more for a large body, and count the request against its rate
        limit.

        Raises QuotaExceeded over the plan's rate or concurrency limit, Overloaded when the Router
        is full. `leave` must follow in either case.
        """
        plan = self.plan
        slots = min(1 + body_bytes // _SLOT_BYTES, self._admission.slots.total)
        self._admission.acquire_slots(self.tenant.id, plan, slots)
        self._slots = slots
        if plan.requests_per_min is not None:
            await self._take("requests", 1, plan.requests_per_min)

    async def know_limits(self) -> None:
        """Read the tokens that are left for the response headers, unless a charge has told them: a
        round trip to a shared limiter. A request that found no slot is answered without."""
        per_min = self.plan.tokens_per_min
        if self._slots and per_min is not None and "tokens" not in self.limits:
            await self._take("tokens", 0, per_min)

    async def charge(self, tokens: int) -> None:
        """Count tokens against the rate limit, before they are computed.

        Raises QuotaExceeded over the limit, PayloadTooLarge for more than a whole minute allows.
        """
        per_min = self.plan.tokens_per_min
        if per_min is None:
            return
        if tokens > per_min:
            raise PayloadTooLarge(
                f"this request has {tokens} tokens and the plan allows {per_min} a minute: send"
                " fewer or shorter texts at once (in a search, a lower top_k)"
            )
        await self._take("tokens", tokens, per_min)

    async def give_back(self, tokens: int) -> None:
        """Return tokens that were charged and not computed to the rate limit."""
        per_min = self.plan.tokens_per_min
        if per_min is not None:
            await self._admission.limiter.give_back(f"{self.tenant.id}:tokens", tokens, per_min)

    def count(self, stage: str, tokens: int, cached_tokens: int) -> None:
        """Add a stage's tokens to the bill, which is recorded only if the request succeeds."""
        self.usage.append((stage, tokens, cached_tokens))

    def record_usage(self) -> None:
        """Record the bill of a successful request; call it before the response is sent."""
        if self.usage:
            self._admission.record_usage(self.tenant.id, self.usage)

    def leave(self) -> None:
        """Release the concurrency slots; call it last, whether the request succeeded or not."""
        if self._slots:
            self._admission.slots.release(self.tenant.id, self._slots)
            self._slots = 0

    def origin(self, lane: Lane) -> Origin:
        """Return the tenant, lane and weight to queue by. Raises LaneNotAllowed."""
        return Origin(self.tenant.id, self.plan.lane(lane), self.plan.weight)

    async def _take(self, unit: Unit, cost: int, per_min: int) -> None:
        limiter = self._admission.limiter
        decision = await limiter.take(f"{self.tenant.id}:{unit}", cost, per_min)
        self.limits[unit] = decision
        if not decision.granted:
            raise QuotaExceeded(
                f"the plan allows {per_min} {unit} a minute, and they are used up: try again in"
                f" {decision.retry_s:.1f} s",
                retry_after_s=decision.retry_s,
            )


class Admission:
    """The limits that all requests of one Router share.

    `replicas` returns the number of Routers. Each counts its own requests and enforces an equal
    share of a plan's `concurrent_requests`. `record_usage` gets a tenant and its request's usage.
    """

    def __init__(
        self,
        limiter: Limiter,
        replicas: Callable[[], int],
        record_usage: Callable[[str, list[tuple[str, int, int]]], None],
    ) -> None:
        self.plans = Plans()
        self.limiter = limiter
        self.record_usage = record_usage
        self.slots = ConcurrencySlots(self.plans.requests_at_once)
        self._replicas = replicas

    def routers(self) -> int:
        """Return the number of Routers."""
        return self._replicas()

    def begin(self, tenant: Tenant) -> Admitted:
        return Admitted(tenant, self.plans.of(tenant.plan), self)

    def configure(self, plans: Plans) -> None:
        self.plans = plans
        self.slots.total = plans.requests_at_once

    def acquire_slots(self, tenant: str, plan: Plan, slots: int) -> None:
        """Take slots for a request; the caller must release them.

        Raises QuotaExceeded over the plan's concurrency limit, Overloaded when the Router is full.
        """
        limit = plan.concurrent_requests
        if limit is not None and self.slots.held(tenant) >= -(-limit // self._replicas()):
            raise QuotaExceeded(
                f"the plan allows {limit} concurrent requests and all are in use: wait for one to"
                " finish",
                retry_after_s=_RETRY_CONCURRENT_S,
            )
        self.slots.acquire(tenant, plan.weight, slots)
