"""Rates that all Routers share, in Redis: one script a decision, by Redis's own clock.

The arithmetic is throttled's (GCRA), the same as in `embedded`.
"""

from throttled.asyncio.rate_limiter.gcra import GCRARateLimiter
from throttled.asyncio.store import RedisStore
from throttled.exceptions import StoreUnavailableError

from deployments.tenants.rate_limits.gcra import PREFIX, LimitersByRate, to_decision
from deployments.tenants.rate_limits.limiter import LimiterUnavailableError, RateDecision

_CONNECTIONS = 16


class RedisLimiter:
    """A Limiter. `url` is redis://, redis+sentinel:// or redis+cluster://, with its password. A
    request waits `timeout_s` for a Redis that does not answer, or for a connection."""

    def __init__(self, url: str, timeout_s: float = 0.5) -> None:
        options: dict[str, str | float] = {
            "SOCKET_TIMEOUT": timeout_s,
            "SOCKET_CONNECT_TIMEOUT": timeout_s,
            "MAX_CONNECTIONS": _CONNECTIONS,
        }
        if url.startswith("redis://"):
            # The plain pool fails when all are in use; this one waits.
            options["CONNECTION_POOL_CLASS"] = "redis.asyncio.BlockingConnectionPool"
            options["TIMEOUT"] = timeout_s
        store = RedisStore(server=url, options=options)
        self._limiters = LimitersByRate(
            lambda quota: GCRARateLimiter(quota, store, key_prefix=PREFIX)
        )

    async def take(self, name: str, cost: int, per_min: int) -> RateDecision:
        try:
            return to_decision(await self._limiters[per_min].limit(name, cost))
        except StoreUnavailableError as error:
            raise LimiterUnavailableError(f"Redis: {error.__cause__}") from error
