"""The network to the server: how soon it is known to be away, and to be back."""

import asyncio
import time

import pytest
from psycopg_pool.base import AttemptWithBackoff

from deployments.errors import StoreUnavailable
from deployments.stores.postgres import connections
from deployments.stores.postgres.store import PostgresStore
from tests.postgres import OwnServer


async def test_a_query_that_nobody_acknowledges_is_given_up_within_seconds(database: str) -> None:
    """The kernel would send it again for 15 minutes, and no keepalive meanwhile."""
    store = PostgresStore(database)
    async with store._connections.lend() as connection:
        assert connection.info.get_parameters()["tcp_user_timeout"] == "15000"
    await store.close()


async def test_a_server_that_is_back_is_asked_at_once(
    own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the pool's pauses have grown to a minute, as in a long outage."""
    monkeypatch.setattr(connections, "_WAIT_S", 0.5)
    monkeypatch.setattr(AttemptWithBackoff, "INITIAL_DELAY", 60.0)
    store = PostgresStore(own_server.url)
    await store.health()
    own_server.kill()
    assert await becomes(store, answering=False)
    await asyncio.to_thread(own_server.start_again)
    assert await becomes(store, answering=True)
    await store.close()


async def becomes(store: PostgresStore, *, answering: bool) -> bool:
    """Whether the store begins or ceases to answer within three seconds."""
    ends_s = time.monotonic() + 3
    while time.monotonic() < ends_s:
        try:
            await store.health()
        except StoreUnavailable:
            now = False
        else:
            now = True
        if now is answering:
            return True
        await asyncio.sleep(0.05)
    return False
