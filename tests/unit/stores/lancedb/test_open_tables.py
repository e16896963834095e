"""LanceDB tables that are closed for want of room: their writes, maintenance and memory."""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from deployments.errors import NotFound
from deployments.stores.base import Namespace, Record
from deployments.stores.lancedb import open_tables
from deployments.stores.lancedb.group_commit import GroupCommit
from deployments.stores.lancedb.open_tables import OpenTable
from deployments.stores.lancedb.store import LanceDBStore
from deployments.stores.lancedb.tables import table_name
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, count, records

NS = Namespace("acme", "docs")
OTHER = Namespace("acme", "others")


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LanceDBStore]:
    """A store with two collections that keeps one table open."""
    monkeypatch.setattr(open_tables, "_MAX_OPEN", 1)
    store = LanceDBStore(tmp_path)
    for ns in (NS, OTHER):
        await store.ensure(ns, DIMENSIONS, FINGERPRINT)
        await store.upsert(ns, records(1))
    yield store
    await store.close()


def held_writes(store: LanceDBStore, ns: Namespace) -> AbstractAsyncContextManager[None]:
    """The hold on writes that maintenance takes before it runs alone."""
    return store._maintenance._tables[table_name(ns)].hold_writes()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_no_write_runs_beside_maintenance_alone_though_the_table_was_closed(
    store: LanceDBStore, when: str
) -> None:
    await store.describe(NS)
    if when == "before":
        await store.describe(OTHER)
    async with held_writes(store, NS):
        if when == "meanwhile":
            await store.describe(OTHER)
        writing = asyncio.create_task(store.upsert(NS, records(3)))
        await asyncio.wait({writing}, timeout=0.5)
        assert not writing.done()
    await writing
    assert await count(store, NS) == 3


async def test_maintenance_of_a_collection_that_is_gone_does_not_make_it_again(
    store: LanceDBStore, tmp_path: Path
) -> None:
    held = held_writes(store, NS)
    await store.drop(NS)
    with pytest.raises(NotFound):
        await held.__aenter__()
    assert not list(tmp_path.glob(f"{table_name(NS)}*"))


async def test_the_table_that_is_asked_for_stays_open_when_all_others_are_busy(
    store: LanceDBStore,
) -> None:
    async with held_writes(store, OTHER):
        table = await store._open.get(NS)
        assert await store._open.get(NS) is table


async def test_tables_that_were_closed_leave_the_memory(
    store: LanceDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_tables, "_MAX_OPEN", 4)
    names = [f"closed-{number}" for number in range(12)]
    for name in names:
        ns = Namespace("acme", name)
        await store.ensure(ns, DIMENSIONS, FINGERPRINT)
        await store.describe(ns)
    gc.collect()
    # `isinstance` would ask objects of other libraries, some of which warn.
    tables = [thing for thing in gc.get_objects() if type(thing) is OpenTable]
    assert sorted(t.collection.name for t in tables if t.collection.name in names) == sorted(
        names[-4:]
    )


async def test_a_queue_is_not_idle_while_a_turn_passes_from_one_to_the_next() -> None:
    async def commit(_: Sequence[Record]) -> None:
        raise AssertionError

    writes = GroupCommit(commit, 1)
    idle: list[bool] = []

    ended = 0

    async def work() -> None:
        nonlocal ended
        await asyncio.sleep(0)
        ended += 1

    async def hold() -> None:
        async with writes.held():
            await work()

    async def watch() -> None:
        while ended < 3:
            idle.append(writes.idle)
            await asyncio.sleep(0)

    turns = [asyncio.create_task(turn) for turn in (writes.exclusive(work), hold(), hold())]
    await asyncio.gather(*turns, asyncio.create_task(watch()))
    assert idle
    assert not any(idle)
    assert writes.idle
