"""Torn files of a LanceDB table, as a power cut leaves them."""

from collections.abc import Callable
from pathlib import Path

import lancedb
import pytest
from lancedb.index import IvfFlat

from deployments.errors import NotFound
from deployments.stores.base import VectorQuery
from deployments.stores.lancedb.store import LanceDBStore
from deployments.stores.lancedb.tables import table_name
from tests.unit.stores.lancedb.one_collection import NS, all_ids, opened
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, count, record, records, unit


def newest_manifest(directory: Path) -> Path:
    return min((directory / f"{table_name(NS)}.lance" / "_versions").glob("*.manifest"))


def newest_file(directory: Path, pattern: str) -> Path:
    table = directory / f"{table_name(NS)}.lance"
    return max(table.glob(pattern), key=lambda file: file.stat().st_mtime_ns)


def zeroed(content: bytes) -> bytes:
    return bytes(len(content))


def emptied(_: bytes) -> bytes:
    return b""


def cut_short(content: bytes) -> bytes:
    """Return the file with its last bytes zeroed."""
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
