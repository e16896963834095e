"""Maintenance of one LanceDB table: compaction, indexes and pruning of old versions.

Run it as `python -m deployments.stores.lancedb.maintenance <uri> <table> <retention_s> [alone]`.
Once loaded it prints a line and waits for one, then prints a line for each thing done; it exits
with BUSY if a write came between, and ends with its parent. A process of its own, because an index
build fills the engine's thread pool: a read in the same process waited 91 s, beside this one 0.4 s.
Knows vectors, ids and versions, and nothing of tenants or filters.
"""

import asyncio
import os
import re
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import lancedb
from lancedb.index import BTree, IvfFlat
from lancedb.table import AsyncTable

from deployments.request.parent_process import end_with_parent
from deployments.stores.lancedb.durability import is_out_of_space, system_barrier
from deployments.stores.lancedb.maintenance_process import BUSY

INDEX_FROM_ROWS = 20_000
# Below, a look-up by id reads all of the ids, in one fragment, as fast as an index.
ID_INDEX_FROM_ROWS = 5_000

_NICENESS = 10
# The time from reading the clock here until the engine reads it, after it has compacted.
_CLOCK_SLACK = timedelta(seconds=5)
_FOREVER = timedelta(days=36_500)
# The number of partitions depends on the rows at training; past this growth they are retrained.
_RETRAIN_GROWTH = 4
_INDEX_NAME = "vector_{rows}"
# What the engine's errors say when a write came between: at once, or in each of its tries for 30 s.
_WRITE_CAME_BETWEEN = re.compile("conflict|too many concurrent writers", re.IGNORECASE)
_OWN_INDEX = re.compile(r"vector_(\d+)")
_ID_INDEX_NAME = "id"


async def maintain(uri: str, name: str, retention: timedelta, *, alone: bool) -> list[str]:
    """Compact, index and prune the table. Return a line for each thing done.

    A version is kept for `retention` after its successor's commit. `alone` says that
    no one writes meanwhile: then files that no version names, which a compaction leaves when a
    write came between, are deleted too. Raises RuntimeError or OSError for a conflict with a write.
    """
    connection = await lancedb.connect_async(uri)
    table = await connection.open_table(name)
    notes: list[str] = []
    await _optimize(table, _FOREVER, alone, notes)
    await _index_ids(table, notes)
    await _index_vectors(table, notes)
    # Pruned last and by itself, so that the age limit counts the versions made above.
    age = prune_age(await _version_times(table), datetime.now(), retention)
    await _optimize(table, age, alone, notes)
    await asyncio.to_thread(system_barrier(), Path(uri) / f"{name}.lance")
    return notes


def prune_age(times: Sequence[datetime], now: datetime, retention: timedelta) -> timedelta:
    """Return the age past which versions are pruned, given all commit times.

    The newest version older than the retention was current within it, so it is kept. The newest of
    all is kept by the engine itself.
    """
    aged = [time for time in times if time <= now - retention]
    if aged and max(aged) == max(times):
        return now - max(aged)
    return (now - max(aged) if aged else retention) + min(retention, _CLOCK_SLACK)


async def _version_times(table: AsyncTable) -> list[datetime]:
    """Return commit times; the engine gives naive local times, and this process runs in UTC."""
    versions = await table.list_versions()  # type: ignore[no-untyped-call]  # unannotated there
    return [version["timestamp"] for version in versions]


async def _optimize(table: AsyncTable, prune: timedelta, alone: bool, notes: list[str]) -> None:
    """Compact, add new rows to the indexes, and prune."""
    await table.checkout_latest()  # type: ignore[no-untyped-call]  # unannotated there
    stats = await table.optimize(cleanup_older_than=prune, delete_unverified=alone)
    if stats.compaction.fragments_removed:
        notes.append(f"merged {stats.compaction.fragments_removed} fragments")
    if stats.prune.old_versions_removed:
        notes.append(f"pruned {stats.prune.old_versions_removed} versions")


async def _index_ids(table: AsyncTable, notes: list[str]) -> None:
    """Index the ids, by which documents are read, deleted and paged."""
    if await table.count_rows() < ID_INDEX_FROM_ROWS:
        return
    if not any(index.columns == ["id"] for index in await table.list_indices()):
        await table.create_index("id", config=BTree(), name=_ID_INDEX_NAME)
        notes.append("indexed the ids")


async def _index_vectors(table: AsyncTable, notes: list[str]) -> None:
    """Build the index if the table has grown enough since the last; its name tells its rows.

    The old index serves until the new one is there. An index of another name is not ours: it counts
    as trained on no rows, and is replaced.
    """
    rows = await table.count_rows()
    if rows < INDEX_FROM_ROWS:
        notes.append(f"not indexed: a search of fewer than {INDEX_FROM_ROWS} rows is exact")
        return
    names = [index.name for index in await table.list_indices() if index.columns == ["vector"]]
    trained_rows = max(map(_trained_rows, names), default=0)
    current = _INDEX_NAME.format(rows=trained_rows)
    if trained_rows * _RETRAIN_GROWTH <= rows:
        current = _INDEX_NAME.format(rows=rows)
        await table.create_index("vector", config=IvfFlat(distance_type="cosine"), name=current)
        notes.append(f"indexed {rows} rows")
    for name in names:
        if name != current:
            await table.drop_index(name)


def _trained_rows(name: str) -> int:
    own = _OWN_INDEX.fullmatch(name)
    return int(own[1]) if own else 0


def main() -> None:
    _, uri, name, retention_s, *alone = sys.argv
    os.nice(_NICENESS)
    retention = timedelta(seconds=float(retention_s))
    # From here on: the next owner of the table would write to it while this process deletes files.
    end_with_parent()
    sys.stdout.write("ready\n")  # the scheduler waits for this line, and this process for its
    sys.stdout.flush()
    # The end of the file comes from a parent that was gone before the call above, too.
    if not sys.stdin.readline():
        sys.exit("the parent ended before it said to begin: nothing was done")
    try:
        notes = asyncio.run(maintain(uri, name, retention, alone=bool(alone)))
    except (RuntimeError, OSError) as error:
        if is_out_of_space(error) or not _WRITE_CAME_BETWEEN.search(str(error)):
            raise
        sys.exit(BUSY)
    sys.stdout.writelines(f"{note}\n" for note in notes)


if __name__ == "__main__":
    main()
