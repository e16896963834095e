"""The rate limiter's interface, and the fallback for when its backend is out of reach.

A whole minute's worth may be taken in one burst; it comes back steadily (GCRA). Knows no backend.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from deployments.request.deadline import Clock

logger = logging.getLogger(__name__)

_RETRY_PRIMARY_S = 5.0
_LOG_EVERY_S = 60.0


class LimiterUnavailableError(Exception):
    """The backend cannot be reached now."""


@dataclass(frozen=True, slots=True)
class RateDecision:
    """The answer to one `take`.

    `remaining` of `limit` can be taken now, and all of it in `reset_s`. A cost that was not
    `granted` would be in `retry_s` (0 if it was).
    """

    granted: bool
    limit: int
    remaining: int
    reset_s: float
    retry_s: float


class Limiter(Protocol):
    async def take(self, name: str, cost: int, per_min: int) -> RateDecision:
        """Take `cost` from the allowance of `name`; a cost of 0 only reads it.

        A cost above `per_min` is never granted. Raises LimiterUnavailableError.
        """
        ...

    async def give_back(self, name: str, cost: int, per_min: int) -> None:
        """Return `cost`, which was granted, to the allowance of `name`.

        Raises LimiterUnavailableError.
        """
        ...


class FallbackLimiter:
    """A limiter that asks `primary` and, while that is out of reach, `local`.

    `local` enforces this Router's share of the limit: `replicas` returns the number of Routers.
    `primary` is tried again every five seconds. `failed` is called for each local decision.
    """

    def __init__(
        self,
        primary: Limiter,
        local: Limiter,
        replicas: Callable[[], int],
        failed: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._primary = primary
        self._local = local
        self._replicas = replicas
        self._failed = failed
        self._clock = clock
        self._local_until_s = -math.inf
        self._silent_until_s = -math.inf

    async def take(self, name: str, cost: int, per_min: int) -> RateDecision:
        if self._clock() >= self._local_until_s:
            try:
                return await self._primary.take(name, cost, per_min)
            except LimiterUnavailableError as error:
                self._fall_back(error)
        self._failed()
        share = max(1, per_min // self._replicas())
        # A cost above the share may still be within the limit and must not be refused for ever.
        decision = await self._local.take(name, min(cost, share), share)
        return replace(decision, limit=per_min)

    async def give_back(self, name: str, cost: int, per_min: int) -> None:
        if self._clock() >= self._local_until_s:
            try:
                return await self._primary.give_back(name, cost, per_min)
            except LimiterUnavailableError as error:
                self._fall_back(error)
        share = max(1, per_min // self._replicas())
        return await self._local.give_back(name, min(cost, share), share)

    def _fall_back(self, error: LimiterUnavailableError) -> None:
        now_s = self._clock()
        self._local_until_s = now_s + _RETRY_PRIMARY_S
        if now_s >= self._silent_until_s:
            self._silent_until_s = now_s + _LOG_EVERY_S
            logger.error("limits are kept by each Router on its own: %s", error)
