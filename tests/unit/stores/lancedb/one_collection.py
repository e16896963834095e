"""A LanceDB store with one collection, and a process that writes to it until it is killed."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from deployments.stores.base import Namespace
from deployments.stores.lancedb.durability import Barrier
from deployments.stores.lancedb.store import LanceDBStore
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT

NS = Namespace("Acme", "docs")
_REPOSITORY = Path(__file__).parents[4]


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


@dataclass(slots=True)
class Writer:
    """A process that writes, and the ids that it has acknowledged."""

    process: asyncio.subprocess.Process
    read: bytes = b""

    async def go_on(self, records: int) -> None:
        """Wait until it has acknowledged `records` more."""
        assert self.process.stdout is not None
        for _ in range(records):
            self.read += await asyncio.wait_for(self.process.stdout.readline(), timeout=60)

    async def acknowledged(self) -> list[str]:
        """Return the ids that it printed until it was killed."""
        assert self.process.stdout is not None
        rest = await self.process.stdout.read()
        await self.process.wait()
        # A line cut in two by the kill was not read whole by whoever waited for it.
        return [line for line in (self.read + rest).decode().split("\n")[:-1] if line]


async def start_writer(directory: Path, first: int) -> Writer:
    """Start a process that writes, and wait until it has acknowledged a record."""
    arguments = [str(directory), NS.tenant, NS.collection, str(first)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.unit.stores.lancedb.writer",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=_REPOSITORY,
    )
    writer = Writer(process)
    await writer.go_on(1)
    return writer
