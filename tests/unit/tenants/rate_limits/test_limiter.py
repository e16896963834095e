"""All rate-limit backends decide alike; files and Redis are shared, and outlive their users."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from deployments.tenants.rate_limits.limiter import (
    FallbackLimiter,
    Limiter,
    LimiterUnavailableError,
)
from deployments.tenants.rate_limits.local import FileLimiter, MemoryLimiter
from deployments.tenants.rate_limits.redis import RedisLimiter
from tests.redis import RedisServer, redis_server

__all__ = ["redis_server"]

# So few a minute that none comes back during a test.
PER_MIN = 10
# Enough for a busy machine.
_TIMEOUT_S = 20.0


@pytest.fixture(params=["memory", "file", "redis"])
async def limiter(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Limiter]:
    if request.param == "memory":
        yield MemoryLimiter()
    elif request.param == "file":
        yield FileLimiter(tmp_path / "rates")
    else:
        yield RedisLimiter(request.getfixturevalue("redis_server").url, _TIMEOUT_S)


async def test_a_burst_may_be_a_minutes_worth_and_no_more(limiter: Limiter) -> None:
    seen = [await limiter.take("acme", 1, PER_MIN) for _ in range(PER_MIN + 1)]
    assert [one.granted for one in seen] == [True] * PER_MIN + [False]
    assert [one.remaining for one in seen[:PER_MIN]] == list(range(PER_MIN))[::-1]
    assert {one.limit for one in seen} == {PER_MIN}
    assert 5 < seen[-1].retry_s <= 6.1
    assert 55 < seen[-1].reset_s <= 60.1


async def test_a_cost_is_granted_whole_or_not_at_all(limiter: Limiter) -> None:
    assert (await limiter.take("acme", 7, PER_MIN)).granted
    refused = await limiter.take("acme", 7, PER_MIN)
    assert (refused.granted, refused.remaining) == (False, 3)
    assert (await limiter.take("acme", 3, PER_MIN)).granted


async def test_a_cost_of_zero_only_reads(limiter: Limiter) -> None:
    assert (await limiter.take("acme", 0, PER_MIN)).remaining == PER_MIN
    await limiter.take("acme", PER_MIN, PER_MIN)
    looked = await limiter.take("acme", 0, PER_MIN)
    assert (looked.granted, looked.remaining) == (True, 0)


async def test_what_is_given_back_can_be_taken_again(limiter: Limiter) -> None:
    for _ in range(3):
        assert (await limiter.take("acme", PER_MIN, PER_MIN)).granted
        await limiter.give_back("acme", PER_MIN - 3, PER_MIN)
        refused = await limiter.take("acme", PER_MIN - 2, PER_MIN)
        assert (refused.granted, refused.remaining) == (False, PER_MIN - 3)
        await limiter.give_back("acme", 3, PER_MIN)
    assert (await limiter.take("acme", 0, PER_MIN)).remaining == PER_MIN


async def test_what_was_never_taken_gives_nothing(limiter: Limiter) -> None:
    await limiter.give_back("acme", 5, PER_MIN)
    assert (await limiter.take("acme", 0, PER_MIN)).remaining == PER_MIN
    await limiter.take("acme", 1, PER_MIN)
    await limiter.give_back("acme", 5, PER_MIN)
    assert (await limiter.take("acme", PER_MIN, PER_MIN)).granted
    assert not (await limiter.take("acme", 1, PER_MIN)).granted


async def test_nothing_can_be_given_back_to_a_redis_that_is_away(
    redis_server: RedisServer,
) -> None:
    first = RedisLimiter(redis_server.url, _TIMEOUT_S)
    limiter = fallback(first, lambda: None, [0.0])
    await limiter.take("acme", PER_MIN, PER_MIN)
    redis_server.stop()
    with pytest.raises(LimiterUnavailableError):
        await first.give_back("acme", 5, PER_MIN)
    await limiter.give_back("acme", 5, PER_MIN)
    assert (await limiter.take("acme", PER_MIN // 2, PER_MIN)).granted
    redis_server.start()


async def test_names_do_not_share(limiter: Limiter) -> None:
    await limiter.take("acme", PER_MIN, PER_MIN)
    assert (await limiter.take("globex", PER_MIN, PER_MIN)).granted


async def test_the_allowance_comes_back(limiter: Limiter) -> None:
    per_min = 1_200  # 20 a second
    await limiter.take("acme", per_min, per_min)
    refused = await limiter.take("acme", 2, per_min)
    assert not refused.granted
    await asyncio.sleep(refused.retry_s + 0.02)
    assert (await limiter.take("acme", 2, per_min)).granted


def _take_all(directory: Path) -> None:
    limiter = FileLimiter(directory)
    assert asyncio.run(limiter.take("acme", PER_MIN, PER_MIN)).granted


async def test_the_file_is_shared_by_processes_and_outlives_them(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_take_all, args=[tmp_path])
    process.start()
    process.join(60)
    assert process.exitcode == 0
    limiter = FileLimiter(tmp_path)
    assert not (await limiter.take("acme", 1, PER_MIN)).granted


async def test_redis_is_shared(redis_server: RedisServer) -> None:
    one, other = (
        RedisLimiter(redis_server.url, _TIMEOUT_S),
        RedisLimiter(redis_server.url, _TIMEOUT_S),
    )
    granted = await asyncio.gather(
        *(limiter.take("acme", 1, PER_MIN) for limiter in (one, other) for _ in range(PER_MIN))
    )
    assert sum(taken.granted for taken in granted) == PER_MIN


async def test_many_at_once_wait_for_a_connection(redis_server: RedisServer) -> None:
    limiter = RedisLimiter(redis_server.url, _TIMEOUT_S)
    taken = await asyncio.gather(*(limiter.take("acme", 1, 100_000) for _ in range(100)))
    assert all(one.granted for one in taken)


async def test_without_redis_each_router_enforces_its_share_and_logs_it(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    now, failures = [0.0], [0]

    def failed() -> None:
        failures[0] += 1

    limiter = fallback(RedisLimiter(redis_server.url, _TIMEOUT_S), failed, now)
    assert (await limiter.take("acme", 1, PER_MIN)).granted
    redis_server.stop()
    seen = [await limiter.take("acme", 1, PER_MIN) for _ in range(PER_MIN)]
    assert sum(one.granted for one in seen) == PER_MIN // 2
    assert {one.limit for one in seen} == {PER_MIN}
    # Above the share but within the limit: granted once, not refused for ever.
    assert (await limiter.take("globex", PER_MIN, PER_MIN)).granted
    assert failures[0] == PER_MIN + 1
    now[0] = 30.0
    await limiter.take("acme", 1, PER_MIN)
    assert caplog.text.count("kept by each Router on its own") == 1

    redis_server.start()
    now[0] = 60.0
    assert (await limiter.take("acme", PER_MIN, PER_MIN)).granted
    assert failures[0] == PER_MIN + 2


def fallback(first: Limiter, failed: Callable[[], None], now: list[float]) -> FallbackLimiter:
    """Make the limiter of one of two Routers."""
    return FallbackLimiter(first, MemoryLimiter(), lambda: 2, failed, lambda: now[0])
