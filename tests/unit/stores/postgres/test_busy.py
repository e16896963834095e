"""A database whose connections are all in use: it is busy, and not away unless it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from deployments.errors import Overloaded, StoreUnavailable
from deployments.stores.base import Namespace
from deployments.stores.postgres import connections
from deployments.stores.postgres.store import PostgresStore
from tests.postgres import OwnServer
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, records

SIZE = 2


@pytest.fixture
async def store(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresStore]:
    monkeypatch.setattr(connections, "_WAIT_S", 1.0)
    store = PostgresStore(database, connections=SIZE)
    yield store
    await store.close()


async def take_all(store: PostgresStore, taken: AsyncExitStack) -> None:
    for _ in range(SIZE):
        await taken.enter_async_context(store._connections.lend())


async def test_a_busy_store_is_overloaded_and_not_away(
    store: PostgresStore, ns: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    probes = 0
    connect = store._connections._connect

    async def counted(**other: int) -> connections.Connection:
        nonlocal probes
        probes += 1
        return await connect(**other)

    async with AsyncExitStack() as taken:
        await take_all(store, taken)
        monkeypatch.setattr(store._connections, "_connect", counted)
        calls = [asyncio.create_task(store.get(ns, ["d0"])) for _ in range(20)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in answers} == {Overloaded}
    assert {answer.retry_after_s for answer in answers if isinstance(answer, Overloaded)} == {1.0}
    assert 1 <= probes < len(calls), "all that wait share one"
    assert await store.get(ns, ["d0"]) == [None]


async def test_a_drop_is_done_though_no_connection_is_free_for_the_table(
    store: PostgresStore, ns: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    remove = store._catalog.remove
    async with AsyncExitStack() as taken:

        async def remove_and_fill(of: Namespace) -> int:
            generation = await remove(of)
            await take_all(store, taken)
            return generation

        monkeypatch.setattr(store._catalog, "remove", remove_and_fill)
        await store.drop(ns)
    assert await store.collections(ns.tenant) == []


async def test_a_server_that_went_while_all_connections_were_lent_is_away(
    own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections themselves do not tell: nobody has used them since."""
    monkeypatch.setattr(connections, "_WAIT_S", 1.0)
    store = PostgresStore(own_server.url, connections=SIZE)
    ns = Namespace("acme", "docs")
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    await store.upsert(ns, records(1))
    async with AsyncExitStack() as taken:
        await take_all(store, taken)
        own_server.kill()
        with pytest.raises(StoreUnavailable):
            await store.get(ns, ["d0"])
    await store.close()
    own_server.start_again()
