"""Fail-over: the first server is killed under load, and its standby takes over."""

import asyncio

import psycopg
import pytest

from deployments.stores.base import VectorQuery
from deployments.stores.postgres.store import PostgresStore
from tests.postgres import OwnServer
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, count, record, unit
from tests.unit.stores.postgres.test_crash import BATCH, NS, all_ids, available, write


@pytest.fixture
def standby_url(own_server: OwnServer) -> str:
    """URL of the server that takes writes, of the two. A commit waits for the standby."""
    return own_server.add_standby()


async def test_answered_upserts_are_on_the_standby_that_takes_over(
    own_server: OwnServer, standby_url: str
) -> None:
    store = PostgresStore(standby_url)
    await store.ensure(NS, DIMENSIONS, FINGERPRINT)
    assert await store.health() == "replicated"
    answered: list[str] = []
    killed = asyncio.Event()
    writers = [
        asyncio.create_task(write(store, n * 100_000, answered, killed.is_set)) for n in range(4)
    ]
    while len(answered) < 50 * BATCH:
        await asyncio.sleep(0.01)
    own_server.kill()
    await asyncio.sleep(0.2)
    killed.set()
    await asyncio.gather(*writers)
    await asyncio.to_thread(own_server.promote_standby)
    await available(store)
    found = await all_ids(store)
    assert set(answered) <= set(found)
    assert len(found) == await count(store, NS)
    with psycopg.connect(standby_url, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM RESET synchronous_standby_names")  # it has none of its own
        admin.execute("SELECT pg_reload_conf()")
    await store.upsert(NS, [record("after")])
    [hits] = await store.search([VectorQuery(NS, unit(1, 0, 0, 0), 5)])
    assert len(hits) == 5
    await store.close()
