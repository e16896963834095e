"""The control store as a Router has it: a copy of the keys, kept fresh, and usage, written back.

The copy is in memory, so no request waits for the store; while the store is out of reach the last
copy holds.
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
from deployments.tenants.usage.journal import UsageJournal
from deployments.tenants.usage.ledger import UsageLedger
from deployments.tenants.usage.meter import Meter

logger = logging.getLogger(__name__)

_REFRESH_S = 1.0
_PATIENCE_S = 5.0
_QUIET_REFRESHES = 60


@dataclass(slots=True)
class TenantStore:
    """Made by `open`. `failed` is called for each time that the keys could not be asked for."""

    database: Database
    registry: Registry
    ledger: UsageLedger
    keys: KeyRing
    meter: Meter
    failed: Callable[[], None]
    _revision: int = -1
    _failures: int = field(default=0)

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
        """At `url`, or else in a file of `directory`; the usage journal is in `directory` anyhow.
        `models`, `observe` and `clock` are as Meter's."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = await Database.open(url or sqlite_url(directory / "control.db"))
        ledger = UsageLedger(database)
        meter = Meter(UsageJournal(directory / "usage"), ledger, models, observe, clock)
        registry = Registry(database, clock)
        return cls(database, registry, ledger, KeyRing(clock), meter, failed)

    async def start(self, keys_file: Path) -> None:
        """Take in the keys of the file, and make the first copy. Raises OSError, ValueError."""
        await self.registry.import_keys(read_keys(keys_file))
        await self.refresh()

    async def refresh(self) -> None:
        """Bring the copy up to date, if there has been a change."""
        if await self.registry.revision() != self._revision:
            snapshot = await self.registry.snapshot()
            self.keys.replace(snapshot)
            self._revision = snapshot.revision

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Within it the copy is kept fresh and usage is stored; all of it is, at the end."""
        tasks = [asyncio.create_task(self._keep_fresh()), asyncio.create_task(self.meter.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.meter.flush()
            await self.database.close()

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_S)
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self.refresh()
                self._failures = 0
            except Exception:  # whatever the database raises must not end the loop
                self.failed()
                if self._failures % _QUIET_REFRESHES == 0:
                    logger.exception("the control store is out of reach: keys stay as they were")
                self._failures += 1
