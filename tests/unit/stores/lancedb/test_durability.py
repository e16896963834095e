"""Durability of acknowledged writes to LanceDB, over kills and failed barriers."""

import asyncio
import errno
import os
import random
import shutil
from pathlib import Path

import pytest

from deployments.errors import NotFound, StorageFull
from deployments.stores.base import Namespace, VectorQuery
from deployments.stores.lancedb.durability import (
    Barrier,
    SyncFiles,
    is_out_of_space,
    system_barrier,
)
from deployments.stores.lancedb.store import LanceDBStore
from deployments.stores.lancedb.tables import table_name
from tests.unit.stores.lancedb.one_collection import NS, all_ids, opened, start_writer
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, count, record, records, unit


async def test_acknowledged_writes_survive_kill_9(tmp_path: Path) -> None:
    dice = random.Random()
    acknowledged: list[str] = []
    for life in range(3):
        writer = await start_writer(tmp_path, first=life * 1_000_000)
        await writer.go_on(dice.randrange(60))
        await asyncio.sleep(dice.uniform(0, 0.05))
        writer.process.kill()
        acknowledged += await writer.acknowledged()
        store = await opened(tmp_path)
        found = await all_ids(store)
        assert len(found) == len(set(found))
        assert set(acknowledged) <= set(found)
        await store.upsert(NS, [record("after")])
        await store.close()


async def test_a_store_reopens_as_it_was_left(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.upsert(NS, records(5))
    before = await store.get(NS, ["d3"]), await store.describe(NS)
    await store.close()
    again = LanceDBStore(tmp_path)
    assert (await again.get(NS, ["d3"]), await again.describe(NS)) == before
    assert await again.collections(NS.tenant) == [before[1]]
    await again.close()


class RecordingBarrier:
    """A barrier that records the manifests at each call, and fails on demand."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.error: OSError | None = None

    def __call__(self, directory: Path) -> None:
        if self.error is not None:
            raise self.error
        self.seen.append(len(list(directory.rglob("*.manifest"))))


async def test_the_barrier_comes_after_the_commit_and_before_the_answer(tmp_path: Path) -> None:
    barrier = RecordingBarrier()
    store = await opened(tmp_path, barrier)
    assert barrier.seen == [1]
    await store.upsert(NS, records(3))
    assert barrier.seen == [1, 2]
    await store.delete(NS, ids=["d0"])
    assert barrier.seen == [1, 2, 3]
    await store.drop(NS)
    # Once after the rename of the table, once after its files are deleted.
    assert barrier.seen == [1, 2, 3, 3, 0]
    await store.close()


async def test_a_failed_barrier_fails_the_write(tmp_path: Path) -> None:
    barrier = RecordingBarrier()
    store = await opened(tmp_path, barrier)
    barrier.error = OSError(errno.ENOSPC, "full")
    with pytest.raises(StorageFull):
        await store.upsert(NS, records(3))
    with pytest.raises(StorageFull):
        await store.delete(NS, ids=["d0"])
    barrier.error = OSError(errno.EIO, "broken")
    with pytest.raises(OSError, match="broken"):
        await store.upsert(NS, records(3))
    barrier.error = None
    await store.upsert(NS, records(3))
    assert await count(store, NS) == 3
    await store.close()


def test_a_full_disk_is_recognised_in_errors_of_python_and_rust() -> None:
    assert is_out_of_space(OSError(errno.EDQUOT, "quota"))
    assert is_out_of_space(RuntimeError("lance error: No space left on device (os error 28), a.rs"))
    assert not is_out_of_space(RuntimeError("Not found (os error 2)"))


async def test_waiting_upserts_share_a_commit(tmp_path: Path) -> None:
    barrier = RecordingBarrier()
    store = await opened(tmp_path, barrier)
    await asyncio.gather(*(store.upsert(NS, [record(f"d{at}")]) for at in range(100)))
    assert await count(store, NS) == 100
    assert len(barrier.seen) <= 5
    await store.close()


async def test_a_cancelled_caller_cancels_no_other(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    tasks = [asyncio.create_task(store.upsert(NS, [record(f"d{at}")])) for at in range(10)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[1:] == [None] * 9
    assert {f"d{at}" for at in range(1, 10)} <= set(await all_ids(store))
    await store.close()


@pytest.mark.parametrize("barrier", [system_barrier(), SyncFiles()], ids=["system", "files"])
async def test_each_barrier_works_on_a_live_store(tmp_path: Path, barrier: Barrier) -> None:
    store = await opened(tmp_path, barrier)
    for _ in range(3):
        await store.upsert(NS, records(3))
    await store.drop(NS)
    with pytest.raises(FileNotFoundError):
        barrier(tmp_path / "absent")
    await store.close()


async def test_an_interrupted_drop_is_finished_at_the_next_start(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.close()
    table = tmp_path / f"{table_name(NS)}.lance"
    grave = tmp_path / f"{table_name(NS)}.dropped-0"
    table.rename(grave)
    store = LanceDBStore(tmp_path)
    assert await store.collections(NS.tenant) == []
    assert not grave.exists()
    await store.close()


async def test_a_table_removed_by_another_process_is_not_found(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.upsert(NS, records(3))
    shutil.rmtree(tmp_path / f"{table_name(NS)}.lance")
    with pytest.raises(NotFound):
        await store.search([VectorQuery(NS, unit(1, 0, 0, 0), 1)])
    assert await store.ensure(NS, DIMENSIONS, FINGERPRINT)
    assert await count(store, NS) == 0
    await store.close()


def test_no_two_namespaces_share_a_table() -> None:
    names = ["a", "A", "a-b", "a_b", "Ab", "aB", "AB", "ab", "0", "A-", "a-A", "a-"]
    collections = ["a", "a-b", "b", "0", "a_", "docs"]
    made = [table_name(Namespace(t, c)) for t in names for c in collections]
    assert len({name.lower() for name in made}) == len(names) * len(collections)
    longest = table_name(Namespace("A" * 63, "c" * 63)) + ".lance.dropped-" + "0" * 32
    assert len(os.fsencode(longest)) <= 255
