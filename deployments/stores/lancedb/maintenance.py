"""Compacts one LanceDB table and indexes it: `python -m ...lancedb_maintenance <uri> <table>`.

A process of its own, because an index build fills the engine's thread pool: a read beside one in
the same process waited 91 s, beside this one 0.4 s. It prints what it did, a line each. It knows
the table's vectors and versions, and nothing of tenants or filters.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import lancedb
from lancedb.index import IvfFlat
from lancedb.table import AsyncTable

from deployments.stores.lancedb.durability import is_out_of_space, system_barrier

INDEX_FROM_ROWS = 20_000

_NICENESS = 10
# A version stays this long after its successor: readers hold it for a second, and a search for as
# long as it takes. At 2 s a reader failed.
_RETENTION = timedelta(minutes=10)
# Between reading the clock here and its use inside the engine.
_CLOCK_SLACK = timedelta(minutes=1)
_FOREVER = timedelta(days=36_500)
# The partitions fit the number of rows they were trained on; past this growth they are made anew.
_RETRAIN_GROWTH = 4
_INDEX_PREFIX = "vector_"
_ATTEMPTS = 5


async def maintain(uri: str, name: str) -> list[str]:
    """Returns what was done."""
    connection = await lancedb.connect_async(uri)
    table = await connection.open_table(name)
    notes: list[str] = []
    await _optimize(table, _FOREVER, notes)
    await _index(table, notes)
    # Pruned apart and last, so that its age limit is taken from versions as they now are.
    await _optimize(table, prune_age(await _version_times(table), datetime.now()), notes)
    await asyncio.to_thread(system_barrier(), Path(uri) / f"{name}.lance")
    return notes


def prune_age(times: Sequence[datetime], now: datetime) -> timedelta:
    """The age past which a version may go, given when each was committed.

    The newest of those older than the retention was current within it, however old it is.
    """
    aged = [time for time in times if time <= now - _RETENTION]
    return (now - max(aged) if aged else _RETENTION) + _CLOCK_SLACK


async def _version_times(table: AsyncTable) -> list[datetime]:
    """Local times without a zone, as the engine gives them: the process runs in UTC."""
    versions = await table.list_versions()  # type: ignore[no-untyped-call]  # unannotated there
    return [version["timestamp"] for version in versions]


async def _optimize(table: AsyncTable, prune: timedelta, notes: list[str]) -> None:
    """Yields to the writer: its commits come first."""
    for _ in range(_ATTEMPTS):
        try:
            await table.checkout_latest()  # type: ignore[no-untyped-call]  # unannotated there
            stats = await table.optimize(cleanup_older_than=prune)
            if stats.compaction.fragments_removed:
                notes.append(f"merged {stats.compaction.fragments_removed} fragments")
            return
        except (RuntimeError, OSError) as error:
            if is_out_of_space(error) or "conflict" not in str(error).lower():
                raise
    notes.append("not compacted: writes to the table left no gap")


async def _index(table: AsyncTable, notes: list[str]) -> None:
    """Build the index if the table has grown enough; the rows it was trained on are its name."""
    rows = await table.count_rows()
    names = [index.name for index in await table.list_indices() if index.columns == ["vector"]]
    trained_rows = max((int(name.removeprefix(_INDEX_PREFIX)) for name in names), default=0)
    if rows < INDEX_FROM_ROWS:
        notes.append(f"not indexed: a search of fewer than {INDEX_FROM_ROWS} rows is exact")
        return
    if trained_rows * _RETRAIN_GROWTH > rows:
        return
    for name in names:
        await table.drop_index(name)
    await table.create_index(
        "vector", config=IvfFlat(distance_type="cosine"), name=f"{_INDEX_PREFIX}{rows}"
    )
    notes.append(f"indexed {rows} rows")


def main() -> None:
    _, uri, name = sys.argv
    os.nice(_NICENESS)
    sys.stdout.writelines(f"{note}\n" for note in asyncio.run(maintain(uri, name)))


if __name__ == "__main__":
    main()
