"""Maintenance of one LanceDB table: compaction, index and pruning of old versions.

Run it as `python -m deployments.stores.lancedb.maintenance <uri> <table>`; it prints one line for
each thing done. A process of its own, because an index build fills the engine's thread pool: a
read in the same process waited 91 s, beside this one 0.4 s. Knows vectors and versions, and nothing
of tenants or filters.
"""

import asyncio
import os
import re
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
# Time that a version is kept after its successor's commit: handles read it for a second, and a
# search for as long as it takes. With 2 s a reader failed.
_RETENTION = timedelta(minutes=10)
# The time between reading the clock here and its use inside the engine.
_CLOCK_SLACK = timedelta(minutes=1)
_FOREVER = timedelta(days=36_500)
# The number of partitions depends on the rows at training; past this growth they are retrained.
_RETRAIN_GROWTH = 4
_INDEX_NAME = "vector_{rows}"
_OWN_INDEX = re.compile(r"vector_(\d+)")
_ATTEMPTS = 5


async def maintain(uri: str, name: str) -> list[str]:
    """Compact, index and prune the table. Return a line for each thing done."""
    connection = await lancedb.connect_async(uri)
    table = await connection.open_table(name)
    notes: list[str] = []
    await _optimize(table, _FOREVER, notes)
    await _index(table, notes)
    # Pruned last and by itself, so that the age limit counts the versions made above.
    await _optimize(table, prune_age(await _version_times(table), datetime.now()), notes)
    await asyncio.to_thread(system_barrier(), Path(uri) / f"{name}.lance")
    return notes


def prune_age(times: Sequence[datetime], now: datetime) -> timedelta:
    """Return the age past which versions are pruned, given all commit times.

    The newest version older than the retention was current within it, so it is kept.
    """
    aged = [time for time in times if time <= now - _RETENTION]
    return (now - max(aged) if aged else _RETENTION) + _CLOCK_SLACK


async def _version_times(table: AsyncTable) -> list[datetime]:
    """Return commit times; the engine gives naive local times, and this process runs in UTC."""
    versions = await table.list_versions()  # type: ignore[no-untyped-call]  # unannotated there
    return [version["timestamp"] for version in versions]


async def _optimize(table: AsyncTable, prune: timedelta, notes: list[str]) -> None:
    """Compact and prune; on a conflict with the writer, whose commits come first, try again."""
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
    """Build the index if the table has grown enough since the last; its name tells its rows.

    An index of another name is not ours: it counts as trained on no rows, and is replaced.
    """
    rows = await table.count_rows()
    names = [index.name for index in await table.list_indices() if index.columns == ["vector"]]
    own = filter(None, map(_OWN_INDEX.fullmatch, names))
    trained_rows = max((int(match[1]) for match in own), default=0)
    if rows < INDEX_FROM_ROWS:
        notes.append(f"not indexed: a search of fewer than {INDEX_FROM_ROWS} rows is exact")
        return
    if trained_rows * _RETRAIN_GROWTH > rows:
        return
    for name in names:
        await table.drop_index(name)
    await table.create_index(
        "vector", config=IvfFlat(distance_type="cosine"), name=_INDEX_NAME.format(rows=rows)
    )
    notes.append(f"indexed {rows} rows")


def main() -> None:
    _, uri, name = sys.argv
    os.nice(_NICENESS)
    sys.stdout.writelines(f"{note}\n" for note in asyncio.run(maintain(uri, name)))


if __name__ == "__main__":
    main()
