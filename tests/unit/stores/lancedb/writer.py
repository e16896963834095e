"""A process that writes to a LanceDB store until it is killed, printing each id once it is
acknowledged: `python -m tests.unit.stores.lancedb.writer <directory> <tenant> <collection>
<first>`."""

import asyncio
import sys
from pathlib import Path

from deployments.stores.base import Namespace
from deployments.stores.lancedb.maintenance_process import MaintenancePolicy
from deployments.stores.lancedb.store import LanceDBStore
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, record

_WRITERS = 4
_BATCH = 5


async def write(store: LanceDBStore, ns: Namespace, first: int) -> None:
    """Write every record twice, so that replacements are killed too."""
    for start in range(first, first + 1_000_000, _WRITERS * _BATCH):
        batch = [record(f"d{at}") for at in range(start, start + _BATCH)]
        await store.upsert(ns, batch)
        sys.stdout.write("".join(f"{r.id}\n" for r in batch))
        sys.stdout.flush()
        await store.upsert(ns, batch)


async def main() -> None:
    directory, tenant, collection, first = sys.argv[1:]
    ns = Namespace(tenant, collection)
    store = LanceDBStore(Path(directory), maintenance=MaintenancePolicy(fragments=10))
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    await asyncio.gather(*(write(store, ns, int(first) + n * _BATCH) for n in range(_WRITERS)))


if __name__ == "__main__":
    asyncio.run(main())
