"""Maintenance of LanceDB tables, in the real maintenance process."""

import asyncio
import contextlib
import multiprocessing
import os
import select
import signal
import sys
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import lancedb
import numpy as np
import pytest
from lancedb.index import IvfFlat

from deployments.errors import NotFound
from deployments.stores.base import Compare, Namespace, Record, VectorQuery
from deployments.stores.lancedb import maintenance_process
from deployments.stores.lancedb.maintenance import INDEX_FROM_ROWS, prune_age
from deployments.stores.lancedb.maintenance_process import MaintenancePolicy, MaintenanceProcess
from deployments.stores.lancedb.store import LanceDBStore
from deployments.stores.lancedb.tables import table_name
from tests.unit.stores.made import FINGERPRINT, count, record

NS = Namespace("acme", "docs")
DIMENSIONS = 8
REPOSITORY = Path(__file__).parents[4]


def clustered(rows: int) -> list[Record]:
    chance = np.random.default_rng(7)
    centres = chance.normal(size=(50, DIMENSIONS))
    vectors = centres[np.arange(rows) % 50] + 0.3 * chance.normal(size=(rows, DIMENSIONS))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return [
        Record(f"d{at}", "", {"hundredth": at % 100 == 0}, vector)
        for at, vector in enumerate(vectors)
    ]


async def ran(directory: Path, *options: str, said: bytes) -> tuple[int | None, str]:
    """Run maintenance in its process, which is told `said`; return its status and its output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deployments.stores.lancedb.maintenance",
        str(directory),
        table_name(NS),
        "60",
        *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "TZ": "UTC"},
    )
    out, _ = await process.communicate(said)
    return process.returncode, out.decode()


async def maintained(directory: Path) -> str:
    """Run maintenance in its process, and return what it printed."""
    status, out = await ran(directory, said=b"\n")
    assert status == 0
    return out.removeprefix("ready\n")


async def child_of_its_own(directory: Path, told: Connection) -> None:
    """Start a child, tell its process id, and leave it waiting."""
    async with MaintenanceProcess(directory, MaintenancePolicy())._child("t", "alone") as child:
        told.send(child.pid)
        await asyncio.Event().wait()


def parent(directory: Path, told: Connection) -> None:
    asyncio.run(child_of_its_own(directory, told))


def manifests(directory: Path) -> int:
    return len(list((directory / f"{table_name(NS)}.lance").rglob("*.manifest")))


async def test_an_index_of_another_name_does_not_end_maintenance(tmp_path: Path) -> None:
    store = LanceDBStore(tmp_path)
    await store.ensure(NS, DIMENSIONS, FINGERPRINT)
    await store.upsert(NS, clustered(300))
    await store.close()
    table = await (await lancedb.connect_async(tmp_path)).open_table(table_name(NS))
    config = IvfFlat(distance_type="cosine", num_partitions=1)
    await table.create_index("vector", config=config, name="made_by_hand")
    assert "not indexed" in await maintained(tmp_path)


async def test_a_large_collection_is_indexed_and_answers_the_same(tmp_path: Path) -> None:
    store = LanceDBStore(tmp_path)
    await store.ensure(NS, DIMENSIONS, FINGERPRINT)
    everything = clustered(INDEX_FROM_ROWS + 1_000)
    await store.upsert(NS, everything)
    vectors = [everything[at].vector for at in range(0, 20_000, 400)]
    nearest = [VectorQuery(NS, vector, 10) for vector in vectors if vector is not None]
    among = [VectorQuery(q.ns, q.vector, 10, Compare("hundredth", "eq", True)) for q in nearest]
    before = await store.search([*nearest, *among])

    assert "indexed 21000 rows" in (await maintained(tmp_path)).splitlines()
    await store.close()
    store = LanceDBStore(tmp_path)
    after = await store.search([*nearest, *among])
    for was, now in zip(before, after, strict=True):
        assert now[0].record.id == was[0].record.id
        assert now[0].score == pytest.approx(was[0].score, abs=1e-5)
    same = sum(
        len({h.record.id for h in was} & {h.record.id for h in now})
        for was, now in zip(before, after, strict=True)
    )
    assert same >= 0.98 * 10 * len(before)

    assert "indexed" not in await maintained(tmp_path)
    [first, *_] = everything
    assert first.vector is not None
    await store.upsert(NS, [Record("new", "", {}, first.vector)])
    [hits] = await store.search([VectorQuery(NS, first.vector, 30_000)])
    assert len(hits) == len(everything) + 1
    assert {hits[0].record.id, hits[1].record.id} == {"d0", "new"}
    await store.close()


async def test_a_filter_finds_records_in_far_partitions(tmp_path: Path) -> None:
    store = LanceDBStore(tmp_path)
    await store.ensure(NS, DIMENSIONS, FINGERPRINT)
    everything = clustered(2_000)
    vector = everything[0].vector
    assert vector is not None
    await store.upsert(NS, everything)
    connection = await lancedb.connect_async(tmp_path)
    table = await connection.open_table(table_name(NS))
    await table.create_index("vector", config=IvfFlat(distance_type="cosine", num_partitions=100))
    await store.close()

    store = LanceDBStore(tmp_path)
    # All of them are together, as far from the query as possible.
    [hits] = await store.search([VectorQuery(NS, -vector, 50, Compare("hundredth", "eq", True))])
    assert {hit.record.id for hit in hits} == {f"d{at}" for at in range(0, 2_000, 100)}
    await store.close()


async def test_fragments_are_merged_and_a_small_table_gets_no_index(tmp_path: Path) -> None:
    store = LanceDBStore(tmp_path)
    await store.ensure(NS, 4, FINGERPRINT)
    for at in range(6):
        await store.upsert(NS, [record(f"d{at}")])
    assert (await maintained(tmp_path)).startswith("merged 6 fragments\nnot indexed")
    assert await count(store, NS) == 6
    await store.close()


async def test_a_process_that_is_not_told_to_begin_does_nothing(tmp_path: Path) -> None:
    store = LanceDBStore(tmp_path)
    await store.ensure(NS, 4, FINGERPRINT)
    for at in range(6):
        await store.upsert(NS, [record(f"d{at}")])
    await store.close()
    before = manifests(tmp_path)
    # The end of the file, as from a parent that has died.
    assert await ran(tmp_path, "alone", said=b"") == (1, "ready\n")
    assert manifests(tmp_path) == before


def test_a_process_ends_with_its_parent_whatever_it_does(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    told, tell = context.Pipe(duplex=False)
    of_child = context.Process(target=parent, args=[tmp_path, tell])
    of_child.start()
    assert told.poll(60)
    child = os.pidfd_open(told.recv())
    try:
        # A stopped process reads no end of a file, and neither does one that compacts.
        signal.pidfd_send_signal(child, signal.SIGSTOP)
        of_child.kill()
        of_child.join()
        ended, _, _ = select.select([child], [], [], 10)
        assert ended
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(child, signal.SIGKILL)
        os.close(child)


async def test_commits_start_maintenance_which_loses_no_writes(tmp_path: Path) -> None:
    store = LanceDBStore(tmp_path, maintenance=MaintenancePolicy(fragments=5))
    await store.ensure(NS, 4, FINGERPRINT)
    table = tmp_path / f"{table_name(NS)}.lance"
    written: list[str] = []
    merged = False
    while not merged and len(written) < 2_000:
        await store.upsert(NS, [record(f"d{len(written)}")])
        written.append(f"d{len(written)}")
        # Each commit adds one; only a compaction adds a version without a row of its own.
        merged = manifests(tmp_path) > len(written) + 1
        await asyncio.sleep(0.005)
    assert merged, f"no maintenance of {table}"
    found = (await store.scan(NS, None, 5_000)).records
    assert sorted(r.id for r in found) == sorted(written)
    await store.close()


async def test_the_words_of_a_process_that_failed_are_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(maintenance_process, "_MODULE", "no_such_module")
    store = LanceDBStore(tmp_path, maintenance=MaintenancePolicy(fragments=1))
    await store.ensure(NS, 4, FINGERPRINT)
    await store.upsert(NS, [record("d")])
    for _ in range(500):
        if caplog.messages:
            break
        await asyncio.sleep(0.02)
    await store.close()
    [said] = caplog.messages
    assert said.startswith(f"maintenance of {table_name(NS)} ended with status 1: ")
    assert "No module named no_such_module" in said


async def test_a_drop_ends_maintenance_first(tmp_path: Path) -> None:
    store = LanceDBStore(tmp_path, maintenance=MaintenancePolicy(fragments=6))
    await store.ensure(NS, 4, FINGERPRINT)
    for at in range(6):
        await store.upsert(NS, [record(f"d{at}")])
    await asyncio.sleep(0.3)
    assert store._maintenance.running
    await store.drop(NS)
    assert not store._maintenance.running
    with pytest.raises(NotFound):
        await store.describe(NS)
    assert [one.name for one in tmp_path.iterdir()] == ["owner.lock"]
    await store.close()


def test_a_version_stays_for_the_retention_after_its_successor() -> None:
    now = datetime(2026, 1, 1, 12)
    minute, an_hour, a_day = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
    # The version of an hour ago was current until now and is kept; that of yesterday is not.
    age = prune_age([now - a_day, now - an_hour, now], now, minute)
    assert an_hour < age < a_day
    assert minute < prune_age([now], now, minute) < an_hour
    # A table that nobody wrote to since keeps its newest version alone.
    assert prune_age([now - a_day, now - an_hour], now, minute) == an_hour
