"""kill -9 of the server under load: every answered upsert is found, and the count is exact."""

import asyncio
import random
from collections.abc import Callable

from deployments.errors import StageUnavailable
from deployments.stores.base import Namespace, VectorQuery
from deployments.stores.postgres.store import PostgresStore
from tests.postgres import OwnServer
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, count, record, unit

NS = Namespace("acme", "docs")
WRITERS, BATCH = 4, 5


async def write(
    store: PostgresStore, first: int, answered: list[str], ended: Callable[[], bool]
) -> None:
    """Write batch after batch, each twice, and note the ids of those that were answered."""
    start = first
    while not ended():
        batch = [record(f"d{at}", text=f"{at}") for at in range(start, start + BATCH)]
        try:
            await store.upsert(NS, batch)
            answered += [one.id for one in batch]
            await store.upsert(NS, batch)
        except StageUnavailable:
            await asyncio.sleep(0.05)
        start += BATCH


async def all_ids(store: PostgresStore) -> list[str]:
    ids: list[str] = []
    cursor: str | None = None
    while True:
        page = await store.scan(NS, cursor, 5_000)
        ids += [one.id for one in page.records]
        cursor = page.cursor
        if cursor is None:
            return ids


async def available(store: PostgresStore) -> None:
    """Wait until the store answers: a pool tries again after growing pauses."""
    for _ in range(30):
        try:
            await store.health()
        except StageUnavailable:
            await asyncio.sleep(0.5)
        else:
            return
    raise AssertionError("the store did not come back")


async def test_answered_upserts_survive_kill_9_of_the_server(own_server: OwnServer) -> None:
    dice = random.Random()
    store = PostgresStore(own_server.url)
    await store.ensure(NS, DIMENSIONS, FINGERPRINT)
    answered: list[str] = []
    for life in range(3):
        before, killed = len(answered), asyncio.Event()
        writers = [
            asyncio.create_task(
                write(store, life * 1_000_000 + n * 100_000, answered, killed.is_set)
            )
            for n in range(WRITERS)
        ]
        while len(answered) < before + 20 * WRITERS * BATCH:
            await asyncio.sleep(0.01)
        await asyncio.sleep(dice.uniform(0, 0.1))
        own_server.kill()
        await asyncio.sleep(0.2)
        killed.set()
        await asyncio.gather(*writers)
        await asyncio.to_thread(own_server.start_again)
        await available(store)
        found = await all_ids(store)
        assert len(found) == len(set(found)) == await count(store, NS)
        assert set(answered) <= set(found)
    [hits] = await store.search([VectorQuery(NS, unit(1, 0, 0, 0), 5)])
    assert len(hits) == 5
    await store.close()
