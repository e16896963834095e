"""What both backings have of throttled's GCRA: a limiter a rate, and its answer in our words.

Knows neither backing.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from throttled.rate_limiter.base import Quota, RateLimitResult, per_min

from deployments.tenants.rate_limits.limiter import RateDecision

PREFIX = "winnow"

L = TypeVar("L")


class LimitersByRate(dict[int, L], Generic[L]):
    """The limiter of so many a minute, made by `make` when it is first asked for."""

    def __init__(self, make: Callable[[Quota], L]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, rate_per_min: int) -> L:
        limiter = self[rate_per_min] = self._make(per_min(rate_per_min))
        return limiter


def to_decision(result: RateLimitResult) -> RateDecision:
    state = result.state
    return RateDecision(
        not result.limited, state.limit, state.remaining, state.reset_after, state.retry_after
    )
