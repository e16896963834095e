"""Rates that all Routers share, in Redis: one script a decision, by Redis's own clock.

The arithmetic is throttled's (GCRA), the same as in `embedded`.
"""

from throttled.asyncio.rate_limiter.gcra import GCRARateLimiter
from throttled.asyncio.store import RedisStore
from throttled.exceptions import StoreUnavailableError
from throttled.rate_limiter.base import per_min as quota_per_min

from deployments.quota.limiter import LimiterUnavailableError, Taken

# How long a request waits for a Redis that does not answer, and for a connection that others use;
# once one has waited in vain, none asks for a while.
_PATIENCE_S = 0.25
_QUEUE_S = 1.0
_CONNECTIONS = 16


class SharedLimiter:
    """A Limiter. `url` is redis://, redis+sentinel:// or redis+cluster://, with its password."""

    def __init__(self, url: str) -> None:
        options: dict[str, str | float] = {
            "SOCKET_TIMEOUT": _PATIENCE_S,
            "SOCKET_CONNECT_TIMEOUT": _PATIENCE_S,
            "MAX_CONNECTIONS": _CONNECTIONS,
        }
        if url.startswith("redis://"):
            # The plain pool fails when all are in use; this one waits.
            options["CONNECTION_POOL_CLASS"] = "redis.asyncio.BlockingConnectionPool"
            options["TIMEOUT"] = _QUEUE_S
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
