"""Durability of acknowledged writes to LanceDB, over kills and torn files."""

import asyncio
import errno
import os
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lancedb
import pytest
from lancedb.index import IvfFlat

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
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, count, record, records, unit

NS = Namespace("Acme", "docs")
REPOSITORY = Path(__file__).parents[4]


async def opened(directory: Path, barrier: Barrier | None = None) -> LanceDBStore:
    store = LanceDBStore(directory, barrier=barrier)
    await store.ensure(NS, DIMENSIONS, FINGERPRINT)
    return store


async def all_ids(store: LanceDBStore) -> list[str]:
    ids: list[str] = []
    cursor: str | None = None
    while True:
        page = await store.scan(NS, cursor, 5_000)
        ids += [r.id for r in page.records]
        cursor = page.cursor
        if cursor is None:
            return ids


def newest_manifest(directory: Path) -> Path:
    return min((directory / f"{table_name(NS)}.lance" / "_versions").glob("*.manifest"))


@dataclass(slots=True)
class Writer:
    """Start a process that writes, and wait until it has acknowledged a record."""

    process: asyncio.subprocess.Process
    read: bytes = b""

    async def go_on(self, records: int) -> None:
        """Until it has acknowledged so many more."""
        assert self.process.stdout is not None
        for _ in range(records):
            self.read += await asyncio.wait_for(self.process.stdout.readline(), timeout=60)

    async def acknowledged(self) -> list[str]:
        """The ids it printed until it was killed."""
        assert self.process.stdout is not None
        rest = await self.process.stdout.read()
        await self.process.wait()
        # A line cut in two by the kill was not read whole by whoever waited for it.
        return [line for line in (self.read + rest).decode().split("\n")[:-1] if line]


async def start_writer(directory: Path, first: int) -> Writer:
    arguments = [str(directory), NS.tenant, NS.collection, str(first)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.unit.stores.lancedb.writer",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=REPOSITORY,
    )
    writer = Writer(process)
    await writer.go_on(1)
    return writer


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


def newest_file(directory: Path, pattern: str) -> Path:
    table = directory / f"{table_name(NS)}.lance"
    return max(table.glob(pattern), key=lambda file: file.stat().st_mtime_ns)


def zeroed(content: bytes) -> bytes:
    return bytes(len(content))


def emptied(_: bytes) -> bytes:
    return b""


def cut_short(content: bytes) -> bytes:
    """Cut off the last page of a file."""
    return content[:-8] + bytes(8)


@pytest.mark.parametrize(
    ("pattern", "tear"),
    [
        ("_versions/*.manifest", emptied),
        ("_versions/*.manifest", zeroed),
        ("_versions/*.manifest", cut_short),
        ("data/*.lance", zeroed),
        ("data/*.lance", cut_short),
        ("_deletions/*", emptied),
        ("_deletions/*", zeroed),
    ],
)
async def test_a_torn_version_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pattern: str, tear: Callable[[bytes], bytes]
) -> None:
    store = await opened(tmp_path)
    await store.upsert(NS, records(5))
    (as_acknowledged,) = await store.get(NS, ["d1"])
    assert as_acknowledged is not None
    await store.upsert(NS, [record("d1", text="unacknowledged")])
    await store.close()
    torn, manifest = newest_file(tmp_path, pattern), newest_manifest(tmp_path)
    torn.write_bytes(tear(torn.read_bytes()))

    store = LanceDBStore(tmp_path)
    assert await all_ids(store) == [f"d{at}" for at in range(5)]
    assert await store.get(NS, ["d1"]) == [as_acknowledged]
    assert manifest.with_name(manifest.name + ".torn").exists()
    assert "power cut" in caplog.text
    await store.upsert(NS, [record("next")])
    assert await count(store, NS) == 6
    await store.close()


async def test_an_index_torn_while_it_was_built_is_set_aside(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.upsert(NS, [record(f"d{at}") for at in range(400)])
    table = await (await lancedb.connect_async(tmp_path)).open_table(table_name(NS))
    await table.create_index("vector", config=IvfFlat(distance_type="cosine", num_partitions=2))
    await store.close()
    torn = newest_file(tmp_path, "_indices/*/*.idx")
    torn.write_bytes(zeroed(torn.read_bytes()))

    store = LanceDBStore(tmp_path)
    assert len((await store.search([VectorQuery(NS, unit(1, 0, 0, 0), 400)]))[0]) == 400
    await store.close()


async def test_a_torn_file_of_no_version_sets_no_version_aside(tmp_path: Path) -> None:
    """A write killed before its commit leaves such a file."""
    store = await opened(tmp_path)
    await store.upsert(NS, records(5))
    await store.close()
    data = newest_file(tmp_path, "data/*.lance")
    data.with_name("orphan.lance").write_bytes(b"")
    (data.parents[1] / "_deletions").mkdir(exist_ok=True)
    (data.parents[1] / "_deletions" / "0-1-1204858966989921190.arrow").write_bytes(b"")
    store = LanceDBStore(tmp_path)
    assert await count(store, NS) == 5
    await store.close()


async def test_a_collection_torn_at_its_creation_can_be_created(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.close()
    newest_manifest(tmp_path).write_bytes(b"")
    store = LanceDBStore(tmp_path)
    with pytest.raises(NotFound):
        await store.describe(NS)
    assert await store.ensure(NS, DIMENSIONS, FINGERPRINT)
    await store.upsert(NS, records(2))
    assert await count(store, NS) == 2
    await store.close()


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
