"""Rates that all Routers share, in Redis: one script a decision, by Redis's own clock.

The arithmetic is throttled's (GCRA), the same as in `embedded`.
"""

from throttled.asyncio.rate_limiter.gcra import GCRARateLimiter
from throttled.asyncio.store import RedisStore
from throttled.exceptions import StoreUnavailableError
from throttled.rate_limiter.base import per_min as quota_per_min

from deployments.quota.limiter import LimiterUnavailableError, Taken

_CONNECTIONS = 16


class SharedLimiter:
    """A Limiter. `url` is redis://, redis+sentinel:// or redis+cluster://, with its password. A
    request waits `patience_s` for a Redis that does not answer, or for a connection."""

    def __init__(self, url: str, patience_s: float = 0.5) -> None:
        options: dict[str, str | float] = {
            "SOCKET_TIMEOUT": patience_s,
            "SOCKET_CONNECT_TIMEOUT": patience_s,
            "MAX_CONNECTIONS": _CONNECTIONS,
        }
        if url.startswith("redis://"):
            # The plain pool fails when all are in use; this one waits.
            options["CONNECTION_POOL_CLASS"] = "redis.asyncio.BlockingConnectionPool"
            options["TIMEOUT"] = patience_s
        self._store = RedisStore(server=url, options=options)
        self._limiters: dict[int, GCRARateLimiter] = {}

    async def take(self, name: str, cost: int, per_min: int) -> Taken:
        limiter = self._limiters.get(per_min)
        if limiter is None:
            limiter = GCRARateLimiter(quota_per_min(per_min), self._store, key_prefix="winnow")
            self._limiters[per_min] = limiter
        try:
            result = await limiter.limit(name, cost)
        except StoreUnavailableError as error:
            raise LimiterUnavailableError(f"Redis: {error.__cause__}") from error
        state = result.state
        return Taken(
            not result.limited, state.limit, state.remaining, state.reset_after, state.retry_after
        )
