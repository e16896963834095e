"""`python -m loadtest.postgres`: recall and latency of the PostgreSQL store, with filters.

Starts a server of its own with its default settings, unless WINNOW_TEST_POSTGRES names one, and
writes loadtest/results/postgres.*. Exits 1 where a recall is below 0.95.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from deployments.stores.base import Namespace
from deployments.stores.postgres.store import PostgresStore
from loadtest.bench import machine
from loadtest.markdown import as_table
from loadtest.postgres import measure
from loadtest.postgres.data import FILTERS, make
from loadtest.postgres_server import PostgresServer

_DOCUMENTS, _TENANTS, _QUERIES = 50_000, 3, 100
_LEAST_RECALL = 0.95


@contextmanager
def server() -> Iterator[str]:
    """Where a PostgreSQL answers."""
    given = os.environ.get("WINNOW_TEST_POSTGRES")
    if given:
        yield given
        return
    started = PostgresServer()
    started.start()
    yield started.url
    started.stop()


async def run(url: str, documents: int, width: int) -> dict[str, Any]:
    """Fill, index and search the tenants' collections, and drop them."""
    tenants = [make(f"t{at}", documents, _QUERIES, width, seed=at) for at in range(_TENANTS)]
    store = PostgresStore(url)
    written = [await measure.fill(store, tenant) for tenant in tenants]
    build_s = await measure.index(store)
    searches = [await measure.search(store, tenant, name) for name in FILTERS for tenant in tenants]
    for tenant in tenants:
        await store.drop(Namespace(tenant.name, "docs"))
    await store.close()
    return {
        "documents": documents,
        "dimensions": width,
        "upserted_a_second": [round(rate) for rate in written],
        "indexed_in_s": round(build_s, 1),
        "searches": [one.document() for one in searches],
    }


def table(document: dict[str, Any]) -> str:
    columns = ["filter", "tenant", "recall@10", "p50, ms", "p99, ms"]
    rows = [
        (s["filter"], s["tenant"], f"{s['recall']:.3f}", f"{s['p50_ms']:.1f}", f"{s['p99_ms']:.1f}")
        for s in document["searches"]
    ]
    return as_table(columns, rows)


def postgres(
    scale: Annotated[float, typer.Option(help="Times 50,000 documents a tenant.")] = 1,
    dimensions: Annotated[int, typer.Option(help="Width of the vectors.")] = 256,
    output: Annotated[Path, typer.Option()] = Path("loadtest/results/postgres"),
) -> None:
    """Measure three tenants and write OUTPUT.json and OUTPUT.md."""
    with server() as url:
        measured = asyncio.run(run(url, int(_DOCUMENTS * scale), dimensions))
    document = {
        "command": " ".join(["python -m loadtest.postgres", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "processor": machine.processor(),
    } | measured
    output.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    output.with_suffix(".md").write_text(table(document) + "\n")
    print(table(document))  # noqa: T201
    if min(one["recall"] for one in document["searches"]) < _LEAST_RECALL:
        sys.exit(1)


if __name__ == "__main__":
    typer.run(postgres)
