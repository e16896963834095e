"""Rate limits that all Routers share, in Redis: one script a decision, by Redis's own clock.

The script is throttled's GCRA. The only module that knows throttled.
"""

from throttled.asyncio.rate_limiter.gcra import GCRARateLimiter
from throttled.asyncio.store import RedisStore
from throttled.exceptions import StoreUnavailableError
from throttled.rate_limiter.base import per_min as quota_per_min

from deployments.tenants.rate_limits.limiter import LimiterUnavailableError, RateDecision

_PREFIX = "winnow"
_CONNECTIONS = 16


class RedisLimiter:
    """A Limiter. `url` is redis://, redis+sentinel:// or redis+cluster://, with its password.

    A request waits at most `timeout_s` for a connection, and again for Redis to answer.
    """

    def __init__(self, url: str, timeout_s: float = 0.5) -> None:
        options: dict[str, str | float] = {
            "SOCKET_TIMEOUT": timeout_s,
            "SOCKET_CONNECT_TIMEOUT": timeout_s,
            "MAX_CONNECTIONS": _CONNECTIONS,
        }
        if url.startswith("redis://"):
            # The plain pool fails when all connections are in use; this one waits.
            options["CONNECTION_POOL_CLASS"] = "redis.asyncio.BlockingConnectionPool"
            options["TIMEOUT"] = timeout_s
        self._store = RedisStore(server=url, options=options)
        self._limiters: dict[int, GCRARateLimiter] = {}

    async def take(self, name: str, cost: int, per_min: int) -> RateDecision:
        if per_min not in self._limiters:
            quota = quota_per_min(per_min)
            self._limiters[per_min] = GCRARateLimiter(quota, self._store, key_prefix=_PREFIX)
        try:
            result = await self._limiters[per_min].limit(name, cost)
        except StoreUnavailableError as error:
            raise LimiterUnavailableError(f"Redis: {error.__cause__}") from error
        state = result.state
        return RateDecision(
            not result.limited, state.limit, state.remaining, state.reset_after, state.retry_after
        )
