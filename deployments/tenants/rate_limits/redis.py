"""Rate limits that all Routers share, in Redis: one script a decision, by Redis's own clock.

The script is throttled's GCRA, and one of ours for what it lacks: to give back. The only module
that knows throttled.
"""

from collections.abc import Sequence
from typing import cast

from throttled.asyncio.rate_limiter.gcra import GCRARateLimiter
from throttled.asyncio.store import RedisStore
from throttled.asyncio.store.redis import BaseRedisAtomicAction, RedisStoreBackend
from throttled.exceptions import StoreUnavailableError
from throttled.rate_limiter.base import per_min as quota_per_min

from deployments.tenants.rate_limits.limiter import LimiterUnavailableError, RateDecision

_PREFIX = "winnow"
_CONNECTIONS = 16


class _GiveBack(BaseRedisAtomicAction):
    """Moves the TAT that throttled's script keeps back by some seconds, but not into the past."""

    TYPE = "give_back"
    SCRIPTS = """
    local tat = tonumber(redis.call("GET", KEYS[1]) or 0) - tonumber(ARGV[1])
    local jan_1_2025 = 1735660800
    local now = redis.call("TIME")
    local left = tat - ((now[1] - jan_1_2025) + (now[2] / 1000000))
    if left > 0 then
        redis.call("SET", KEYS[1], tat, "EX", math.ceil(left))
    else
        redis.call("DEL", KEYS[1])
    end
    """

    def __init__(self, backend: RedisStoreBackend) -> None:
        super().__init__(backend)
        self._script = self._register_script(self.SCRIPTS)

    async def do(self, keys: Sequence[str], args: Sequence[float] | None) -> tuple[()]:
        await self._script(keys, args)
        return ()


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
        self._returning = cast(_GiveBack, self._store.make_atomic(_GiveBack))

    async def take(self, name: str, cost: int, per_min: int) -> RateDecision:
        try:
            result = await self._limiter(per_min).limit(name, cost)
        except StoreUnavailableError as error:
            raise LimiterUnavailableError(f"Redis: {error.__cause__}") from error
        state = result.state
        return RateDecision(
            not result.limited, state.limit, state.remaining, state.reset_after, state.retry_after
        )

    async def give_back(self, name: str, cost: int, per_min: int) -> None:
        key, interval_s, _ = self._limiter(per_min)._prepare(name)
        try:
            await self._returning.do([key], [cost * interval_s])
        except StoreUnavailableError as error:
            raise LimiterUnavailableError(f"Redis: {error.__cause__}") from error

    def _limiter(self, per_min: int) -> GCRARateLimiter:
        if per_min not in self._limiters:
            quota = quota_per_min(per_min)
            self._limiters[per_min] = GCRARateLimiter(quota, self._store, key_prefix=_PREFIX)
        return self._limiters[per_min]
