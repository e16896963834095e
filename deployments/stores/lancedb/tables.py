"""The tables of a LanceDB directory: one for each (tenant, collection).

Opens, creates, lists and drops them. Knows where a table lies on the disk, and no records.
"""

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import lancedb
from lancedb.table import AsyncTable

from deployments.stores.base import Namespace
from deployments.stores.lancedb.directory_lock import DirectoryLock
from deployments.stores.lancedb.durability import Barrier
from deployments.stores.lancedb.rows import table_schema
from deployments.stores.lancedb.torn_versions import manifests, set_aside_torn_versions

_SEPARATOR = ".."
_DROPPED = ".dropped-"
# How long a handle may read a version that another process has replaced.
_CONSISTENCY = timedelta(seconds=1)
_LIST_PAGE = 1_000
# The vectors of indexed collections in use: of 100,000 of 384 dimensions, 150 MiB, a search took
# 10 ms with all of them in it, and 60 ms with a cache of 64 MiB.
_INDEX_CACHE_BYTES = 256 * 1024 * 1024
# Each commit adds 90 kB or more that nobody reads again, so this fills up whatever its size. What
# is read again is 7 MiB for a table of 300 fragments.
_METADATA_CACHE_BYTES = 32 * 1024 * 1024


class LanceTables:
    """The catalog of `directory`, which is created if missing."""

    def __init__(self, directory: Path, barrier: Barrier) -> None:
        self.directory = directory
        self._barrier = barrier
        self._lock = DirectoryLock(directory / "owner.lock")
        self._connecting = asyncio.Lock()
        self._connection: lancedb.AsyncConnection | None = None

    def path(self, ns: Namespace) -> Path:
        return self.directory / f"{table_name(ns)}.lance"

    async def open(self, ns: Namespace) -> AsyncTable:
        """Open the table at its newest version that is not torn. Raises NotFound."""
        connection = await self.connect()
        await asyncio.to_thread(set_aside_torn_versions, self.path(ns))
        try:
            table: AsyncTable = await connection.open_table(table_name(ns))
            return table
        except (ValueError, RuntimeError, OSError):
            if await self.exists(ns):
                raise
            raise ns.not_found() from None

    async def exists(self, ns: Namespace) -> bool:
        """Return whether any version of the table was committed."""
        return bool(await asyncio.to_thread(manifests, self.path(ns)))

    async def data_files(self, ns: Namespace) -> int:
        """Return the number of the table's files of rows, those of old versions included."""
        return await asyncio.to_thread(lambda: len(list(self.path(ns).glob("data/*.lance"))))

    async def create(self, ns: Namespace, dimensions: int, fingerprint: str) -> None:
        connection = await self.connect()
        await connection.create_table(table_name(ns), schema=table_schema(dimensions, fingerprint))
        await self.flush(self.directory)

    async def drop(self, ns: Namespace) -> None:
        """Rename the table away, which is atomic, and then delete its files."""
        dropped = self.directory / f"{table_name(ns)}{_DROPPED}{uuid.uuid4().hex}"
        await asyncio.to_thread(self.path(ns).rename, dropped)
        await self.flush(self.directory)
        await asyncio.to_thread(shutil.rmtree, dropped, ignore_errors=True)
        await self.flush(self.directory)

    async def of_tenant(self, tenant: str) -> AsyncIterator[Namespace]:
        connection = await self.connect()
        prefix = _tenant_part(tenant) + _SEPARATOR
        token: str | None = None
        while True:
            page = await connection.list_tables(limit=_LIST_PAGE, page_token=token)
            for name in page.tables:
                if name.startswith(prefix):
                    yield Namespace(tenant, name.removeprefix(prefix))
            token = page.page_token
            if not token:
                return

    async def flush(self, directory: Path) -> None:
        """Make everything written under the directory durable."""
        await asyncio.to_thread(self._barrier, directory)

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()  # type: ignore[no-untyped-call]  # unannotated there
            self._connection = None
        self._lock.release()

    async def connect(self) -> lancedb.AsyncConnection:
        """Return the connection; the first call waits for the directory's lock and opens it.

        Raises OSError if the directory cannot be created.
        """
        async with self._connecting:
            if self._connection is None:
                self.directory.mkdir(parents=True, exist_ok=True)
                await self._lock.acquire()
                await asyncio.to_thread(_delete_dropped, self.directory)
                self._connection = await lancedb.connect_async(
                    str(self.directory),
                    read_consistency_interval=_CONSISTENCY,
                    session=lancedb.Session(
                        index_cache_size_bytes=_INDEX_CACHE_BYTES,
                        metadata_cache_size_bytes=_METADATA_CACHE_BYTES,
                    ),
                )
            return self._connection


def table_name(ns: Namespace) -> str:
    return _tenant_part(ns.tenant) + _SEPARATOR + ns.collection


def _tenant_part(tenant: str) -> str:
    """Return the tenant's name with each capital as '.' and its small letter.

    Some file systems do not tell 'A' from 'a'. A '.' is always followed by a letter here, so the
    separator cannot occur inside.
    """
    return "".join(f".{letter.lower()}" if letter.isupper() else letter for letter in tenant)


def _delete_dropped(directory: Path) -> None:
    for dropped in directory.glob(f"*{_DROPPED}*"):
        shutil.rmtree(dropped, ignore_errors=True)
