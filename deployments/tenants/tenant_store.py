"""The Router's side of the control store: a cached copy of the keys, and usage written back.

Keys are checked against the copy in memory, so no request waits for the database. While the
database is out of reach, the last copy stays valid and usage stays in the journal.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deployments.request.deadline import Clock
from deployments.tenants.api_keys import KeyRing, read_keys
from deployments.tenants.store.database import Database, sqlite_url
from deployments.tenants.store.registry import Registry
from deployments.tenants.store.retention import Retention
from deployments.tenants.usage.journal import UsageJournal
from deployments.tenants.usage.ledger import UsageLedger
from deployments.tenants.usage.meter import Meter

logger = logging.getLogger(__name__)

_REFRESH_S = 1.0
_FORGET_S = 3600.0
_REFRESH_TIMEOUT_S = 5.0
_LAST_FLUSH_S = 5.0
_LOG_EVERY_FAILURES = 60


@dataclass(slots=True)
class TenantStore:
    """Create it with `open`. `failed` is called for each refresh of the keys that failed."""

    database: Database
    registry: Registry
    ledger: UsageLedger
    keys: KeyRing
    meter: Meter
    failed: Callable[[], None]
    clock: Clock
    retention: Retention = field(default_factory=Retention)
    _revision: int = -1
    _failures: int = 0
    _refreshing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    async def open(
        cls,
        url: str | None,
        directory: Path,
        models: Mapping[str, str],
        observe: Callable[[str, str, int, int], None],
        failed: Callable[[], None],
        clock: Clock,
    ) -> "TenantStore":
        """Connect to the database at `url`, or to an SQLite file in `directory` if it is None.

        The usage journal is always in `directory`. `models`, `observe` and `clock` are as Meter's.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = await Database.open(url or sqlite_url(directory / "control.db"))
        ledger = UsageLedger(database, clock)
        meter = Meter(UsageJournal(directory / "usage"), ledger, models, observe, clock)
        registry = Registry(database, clock)
        return cls(database, registry, ledger, KeyRing(clock), meter, failed, clock)

    async def start(self, keys_file: Path) -> None:
        """Import the keys of the file and make the first copy. Raises OSError, ValueError."""
        await self.registry.import_keys(read_keys(keys_file))
        await self.refresh()

    async def refresh(self) -> None:
        """Take up what has changed in the registry."""
        # One at a time: older changes applied last would bring revoked keys back.
        async with self._refreshing:
            number = await self.registry.revision()
            if number == self._revision:
                return
            # A database that was restored from a backup counts from an earlier number.
            whole = self._revision < 0 or number < self._revision
            changes = await self.registry.changes(None if whole else self._revision)
            self.keys.apply(changes)
            self._revision = changes.revision

    async def try_refresh(self) -> None:
        """Refresh the copy; if the database does not answer, the copy stays and the next try is a
        second away. For those whose own change is stored already."""
        try:
            async with asyncio.timeout(_REFRESH_TIMEOUT_S):
                await self.refresh()
            self._failures = 0
        except Exception:  # whatever the database raises
            self.failed()
            if self._failures % _LOG_EVERY_FAILURES == 0:
                logger.exception("the control store is out of reach: keys stay as they were")
            self._failures += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Refresh the copy and store usage in the background; store the rest at the end."""
        loops = (self._keep_fresh(), self.meter.run(), self._forget())
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            try:
                async with asyncio.timeout(_LAST_FLUSH_S):
                    await self.meter.flush()
            except Exception:  # whatever the database raises
                logger.exception("usage could not be stored: it waits in the journal")
            await self.database.close()

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_S)
            await self.try_refresh()

    async def _forget(self) -> None:
        """Delete what is older than it is to be kept, every hour, for ever."""
        while True:
            try:
                await self.retention.apply(self.database, self.clock)
            except Exception:  # whatever the database raises
                logger.exception("what is too old could not be deleted: it is tried in an hour")
            await asyncio.sleep(_FORGET_S)
