"""Tables that were written to for long: their fragments, versions and indexes."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import pytest
from lancedb.index import IvfFlat
from lancedb.table import AsyncTable

from deployments.stores.base import Namespace, Record, VectorQuery
from deployments.stores.lancedb.maintenance import (
    ID_INDEX_FROM_ROWS,
    INDEX_FROM_ROWS,
    maintain,
)
from deployments.stores.lancedb.maintenance_process import MaintenancePolicy
from deployments.stores.lancedb.store import LanceDBStore
from deployments.stores.lancedb.tables import table_name
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, record, records, unit

NS = Namespace("acme", "docs")
NEVER = MaintenancePolicy(fragments=10**6, idle_s=10**6)
WHEN_IDLE = MaintenancePolicy(fragments=10**6, idle_fragments=5, idle_s=0.2, retention_s=0.5)


async def opened(directory: Path, policy: MaintenancePolicy = NEVER) -> LanceDBStore:
    store = LanceDBStore(directory, maintenance=policy)
    await store.ensure(NS, DIMENSIONS, FINGERPRINT)
    return store


async def table_in(directory: Path) -> AsyncTable:
    connection = await lancedb.connect_async(directory)
    table: AsyncTable = await connection.open_table(table_name(NS))
    return table


async def fragments(directory: Path) -> int:
    table = await table_in(directory)
    stats: Any = await table.stats()  # a dict, whatever its annotation says
    count = stats["fragment_stats"]["num_fragments"]
    assert isinstance(count, int)
    return count


def files(directory: Path) -> int:
    return sum(path.is_file() for path in (directory / f"{table_name(NS)}.lance").rglob("*"))


async def until(holds: Callable[[], Awaitable[bool]], patience_s: float = 40) -> None:
    ends_s = time.monotonic() + patience_s
    while not await holds():
        assert time.monotonic() < ends_s
        await asyncio.sleep(0.1)


async def write_singly(store: LanceDBStore, number: int) -> None:
    for at in range(number):
        await store.upsert(NS, [record(f"d{at}")])


async def test_a_table_that_falls_idle_is_merged_and_then_pruned(tmp_path: Path) -> None:
    store = await opened(tmp_path, WHEN_IDLE)
    await write_singly(store, 20)
    before = files(tmp_path)

    async def merged() -> bool:
        return await fragments(tmp_path) <= 2

    async def pruned() -> bool:
        return files(tmp_path) <= before / 3

    await until(merged)
    await until(pruned)
    assert (await store.describe(NS)).documents == 20
    await store.close()


async def test_fragments_of_an_earlier_process_are_merged(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await write_singly(store, 20)
    await store.close()
    assert await fragments(tmp_path) == 20
    store = LanceDBStore(tmp_path, maintenance=WHEN_IDLE)
    await store.describe(NS)

    async def merged() -> bool:
        return await fragments(tmp_path) == 1

    await until(merged)
    await store.close()


async def test_one_large_upsert_is_indexed(tmp_path: Path) -> None:
    store = await opened(tmp_path, WHEN_IDLE)
    await store.upsert(NS, records(ID_INDEX_FROM_ROWS))

    async def indexed() -> bool:
        return bool(await (await table_in(tmp_path)).list_indices())

    await until(indexed)
    await store.close()


async def test_a_table_that_is_updated_without_pause_is_merged(tmp_path: Path) -> None:
    store = await opened(tmp_path, MaintenancePolicy(fragments=30, retention_s=1))
    await store.upsert(NS, records(100))

    async def update() -> None:
        for number in range(100_000):
            await store.upsert(NS, [record(f"d{number % 100}", text=str(number))])

    async def split() -> bool:
        return await fragments(tmp_path) >= 30

    async def merged() -> bool:
        return await fragments(tmp_path) < 30

    updates = asyncio.create_task(update())
    await until(split)
    await until(merged, patience_s=100)  # on a busy machine the engine tries for 30 s at first
    updates.cancel()
    await asyncio.wait({updates})
    assert (await store.describe(NS)).documents == 100
    assert len((await store.scan(NS, None, 200)).records) == 100
    await store.close()


async def test_a_read_of_a_version_that_was_pruned_reads_the_newest(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await write_singly(store, 10)
    table = await table_in(tmp_path)
    query = VectorQuery(NS, unit(1, 0, 0, 0), 20)
    await store.search([query])
    await table.optimize(cleanup_older_than=timedelta(milliseconds=1), delete_unverified=True)
    # The store's handle is younger than a second, so it still reads files that are gone.
    [hits] = await store.search([query])
    assert len(hits) == 10
    assert [found is not None for found in await store.get(NS, ["d1", "no"])] == [True, False]
    await store.close()


async def test_versions_that_were_replaced_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[lancedb.Session] = []
    new_session = lancedb.Session

    def keeping(**sizes: int) -> lancedb.Session:
        made.append(new_session(**sizes))
        return made[-1]

    monkeypatch.setattr(lancedb, "Session", keeping)
    store = await opened(tmp_path)
    # Each version lists all fragments, so these lists alone come to some 45 MiB.
    await write_singly(store, 260)
    [session] = made
    assert 2**20 < session.size_bytes < 36 * 2**20
    await store.close()


async def test_the_old_vector_index_serves_until_the_new_one_is_there(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.upsert(NS, records(INDEX_FROM_ROWS))
    await store.close()
    table = await table_in(tmp_path)
    config = IvfFlat(distance_type="cosine", num_partitions=1)
    await table.create_index("vector", config=config, name="old")
    first = await table.version()
    await maintain(str(tmp_path), table_name(NS), timedelta(minutes=1), alone=False)
    await table.checkout_latest()  # type: ignore[no-untyped-call]  # unannotated there
    last = await table.version()
    for version in range(first, last + 1):
        await table.checkout(version)
        names = [i.name for i in await table.list_indices() if i.columns == ["vector"]]
        assert names, f"version {version} of {first} to {last} has no vector index"
    assert names == [f"vector_{INDEX_FROM_ROWS}"]


@pytest.mark.parametrize("alone", [False, True])
async def test_documents_stay_right_over_many_maintenances(tmp_path: Path, alone: bool) -> None:
    """With an index on `id`, by which an upsert finds what it replaces."""
    dice = random.Random(1)
    store = await opened(tmp_path)
    texts = {f"d{at}": "" for at in range(ID_INDEX_FROM_ROWS)}
    await store.upsert(NS, [record(id_, text="") for id_ in texts])
    for life in range(5):
        await maintain(str(tmp_path), table_name(NS), timedelta(seconds=1), alone=alone)
        for at in range(12):
            ids = {f"d{dice.randrange(2 * ID_INDEX_FROM_ROWS)}" for _ in range(40)}
            ids |= {f"d{number}" for number in range(3)}
            changed = dict.fromkeys(ids, f"{life} {at}")
            await store.upsert(NS, [record(id_, text=text) for id_, text in changed.items()])
            texts |= changed
            gone = [dice.choice(list(texts)) for _ in range(5)]
            await store.delete(NS, gone)
            for id_ in gone:
                texts.pop(id_, None)
        assert await everything(store) == texts
        some = [*dice.sample(list(texts), 20), "none"]
        found = await store.get(NS, some)
        assert [one and one.text for one in found] == [texts.get(id_) for id_ in some]
    indexes = await (await table_in(tmp_path)).list_indices()
    assert [index.name for index in indexes if index.columns == ["id"]] == ["id"]
    await store.close()


async def everything(store: LanceDBStore) -> dict[str, str]:
    """Each document's text, of all pages; a document that comes twice is an error."""
    found: list[Record] = []
    cursor: str | None = None
    while not found or cursor is not None:
        page = await store.scan(NS, cursor, 5_000)
        found += page.records
        cursor = page.cursor
    texts = {one.id: one.text for one in found}
    assert len(texts) == len(found)
    assert (await store.describe(NS)).documents == len(found)
    return texts


async def test_counting_documents_reads_only_tables_that_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    count_rows = AsyncTable.count_rows

    async def counting(table: AsyncTable) -> int:
        counted.append(table.name)
        return await count_rows(table)

    store = await opened(tmp_path)
    others = [Namespace(NS.tenant, f"c{at}") for at in range(3)]
    for other in others:
        await store.ensure(other, DIMENSIONS, FINGERPRINT)
    await store.collections(NS.tenant)
    monkeypatch.setattr(AsyncTable, "count_rows", counting)
    await store.upsert(others[1], records(2))
    await store.upsert(others[2], records(3))
    await store.delete(others[2], ["d0"])
    sizes = [one.documents for one in await store.collections(NS.tenant)]
    assert sizes == [0, 2, 2, 0]
    assert counted == [table_name(others[1]), table_name(others[2])]
    await store.close()
