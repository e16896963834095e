"""Rates: the interface that the two backings share, and what happens when one is out of reach.

Knows neither backing. A minute's worth may come at once; it comes back steadily (GCRA, the leaky
bucket as a meter).
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from deployments.request.deadline import Clock

logger = logging.getLogger(__name__)

_PAUSE_S = 5.0
_QUIET_S = 60.0


class LimiterUnavailableError(Exception):
    """The backing cannot be asked now."""


@dataclass(frozen=True, slots=True)
class RateDecision:
    """Whether the cost was `granted`, and what is left: `remaining` of `limit` at once, all of it
    in `reset_s`; if it was not, the same cost would be in `retry_s`."""

    granted: bool
    limit: int
    remaining: int
    reset_s: float
    retry_s: float


class Limiter(Protocol):
    async def take(self, name: str, cost: int, per_min: int) -> RateDecision:
        """Take `cost` of what `name` has; a cost of 0 only looks. Raises LimiterUnavailableError.

        A cost above `per_min` is never granted.
        """
        ...


class FallbackLimiter:
    """Asks `first`; while that cannot be asked, `local`, for this replica's share of the limit.

    `failed` is called for each decision made so. `first` is tried again after a pause.
    """

    def __init__(
        self,
        first: Limiter,
        local: Limiter,
        replicas: Callable[[], int],
        failed: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._first = first
        self._local = local
        self._replicas = replicas
        self._failed = failed
        self._clock = clock
        self._paused_until = -math.inf
        self._quiet_until = -math.inf

    async def take(self, name: str, cost: int, per_min: int) -> RateDecision:
        if self._clock() >= self._paused_until:
            try:
                return await self._first.take(name, cost, per_min)
            except LimiterUnavailableError as error:
                self._pause(error)
        self._failed()
        share = max(1, per_min // self._replicas())
        # More than the share may be within the limit, and must not be refused for ever.
        taken = await self._local.take(name, min(cost, share), share)
        return replace(taken, limit=per_min)

    def _pause(self, error: LimiterUnavailableError) -> None:
        now = self._clock()
        self._paused_until = now + _PAUSE_S
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_S
            logger.error("limits are kept by each Router on its own: %s", error)
