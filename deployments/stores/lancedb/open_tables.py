"""The open tables of a LanceDB directory, of which the most recently used are kept.

Knows when a table is gone, and nothing of records or commits.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pyarrow as pa  # type: ignore[import-untyped]  # ships no annotations
from lancedb.table import AsyncTable

from deployments.errors import NotBegun
from deployments.stores.base import Collection, Namespace
from deployments.stores.lancedb.directory_lock import ENDED
from deployments.stores.lancedb.durability import storage_full_errors
from deployments.stores.lancedb.group_commit import GroupCommit
from deployments.stores.lancedb.rows import collection_of
from deployments.stores.lancedb.tables import LanceTables

# An open table takes 66 kB of memory.
_MAX_OPEN = 1_024


@dataclass(slots=True)
class OpenTable:
    """An open table. Writes check `dropped`, so that none recreates files of a dropped table."""

    engine: AsyncTable
    schema: pa.Schema
    collection: Collection
    writes: GroupCommit = field(init=False)
    dropped: bool = False
    _documents: int | None = None
    _writes_ended: int = 0

    async def count(self) -> int:
        """Return the number of documents, which only a write changes: this process is the only
        writer."""
        if self._documents is not None:
            return self._documents
        ended = self._writes_ended
        counted = await self.engine.count_rows()
        if ended == self._writes_ended:
            self._documents = counted
        return counted

    def written(self) -> None:
        """Forget the count, after a write."""
        self._documents = None
        self._writes_ended += 1


class OpenTables:
    """The open tables. `prepare` gives each its write queue when it is opened."""

    def __init__(
        self, tables: LanceTables, prepare: Callable[[Namespace, OpenTable], Awaitable[None]]
    ) -> None:
        self._tables = tables
        self._prepare = prepare
        self._open: OrderedDict[Namespace, OpenTable] = OrderedDict()
        self._opening = asyncio.Lock()
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    @contextlib.asynccontextmanager
    async def using(self, ns: Namespace) -> AsyncIterator[OpenTable]:
        """Yield the open table, and turn the engine's errors into ours. Raises NotFound."""
        with storage_full_errors():
            table = await self.get(ns)
            try:
                yield table
            except (RuntimeError, ValueError, OSError):
                if await self._tables.exists(ns):
                    raise
                if self._open.get(ns) is table:
                    del self._open[ns]
                raise ns.not_found() from None

    async def get(self, ns: Namespace) -> OpenTable:
        """Return the table, opened if it is not. Raises NotFound, and NotBegun after `close`."""
        if self._closed:
            raise NotBegun(ENDED)
        if ns not in self._open:
            # One at a time: an open begun before a drop must not end after it with the old table.
            async with self._opening:
                if ns not in self._open:
                    self._open[ns] = await self._opened(ns)
        self._open.move_to_end(ns)
        self._close_idle(but=ns)
        return self._open[ns]

    def forget(self, ns: Namespace) -> None:
        self._open.pop(ns, None)

    async def close(self) -> None:
        """Let writes that are under way end, and open no table again."""
        self._closed = True
        for table in list(self._open.values()):
            await table.writes.settle()
            table.engine.close()  # type: ignore[no-untyped-call]  # unannotated there
        self._open.clear()

    async def _opened(self, ns: Namespace) -> OpenTable:
        engine = await self._tables.open(ns)
        schema = await engine.schema()
        table = OpenTable(engine, schema, collection_of(ns.collection, schema))
        await self._prepare(ns, table)
        return table

    def _close_idle(self, but: Namespace) -> None:
        """Close the tables least recently used, and not that which the caller is about to use."""
        excess = len(self._open) - _MAX_OPEN
        if excess > 0:
            # A table with writes under way stays: a second write queue would conflict with its own.
            idle = [ns for ns, table in self._open.items() if ns != but and table.writes.idle]
            for ns in idle[:excess]:
                del self._open[ns]
