"""`python -m loadtest.ageing`: the embedded store after very many small writes.

Fills one LanceDB store by single upserts and updates, watches it while it is written to and while
it rests, and compares it with one that got the same documents at once. No cluster and no model:
the vectors are made here.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cluster.profile import application, load_profile
from deployments.stores.lancedb.maintenance_process import MaintenancePolicy
from deployments.stores.lancedb.store import LanceDBStore
from loadtest.ageing.documents import Documents
from loadtest.ageing.report import plot
from loadtest.ageing.subject import Subject, compare
from loadtest.bench import machine

_DOCUMENTS = 20_000
_UPDATES = 5_000
_UPDATED = 500
_RETENTION_S = 60.0
# Maintenance itself, and what it waits for before it begins.
_SETTLE_S = 30.0


def ageing(
    scale: Annotated[float, typer.Option(help="Of 20,000 upserts and 5,000 updates.")] = 1.0,
    writers: Annotated[int, typer.Option(help="Each waits for its upsert to be durable.")] = 4,
    output: Annotated[Path, typer.Option()] = Path("loadtest/results/ageing"),
) -> None:
    """Age a store and compare it with a fresh one; write OUTPUT.json and OUTPUT.svg."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="w-age-") as directory:
        document = asyncio.run(_measure(Path(directory), scale, writers))
    output.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    plot(document, output.with_suffix(".svg"))
    _print(document)


async def _measure(directory: Path, scale: float, writers: int) -> dict[str, Any]:
    documents = Documents(round(_DOCUMENTS * scale), seed=1)
    updated = max(1, round(_UPDATED * scale))
    policy = MaintenancePolicy(retention_s=max(5.0, _RETENTION_S * min(1.0, scale)))
    rest_s = policy.idle_s + policy.retention_s + _SETTLE_S
    aged = Subject(LanceDBStore(directory / "aged", maintenance=policy), directory / "aged")
    fresh = Subject(LanceDBStore(directory / "fresh", maintenance=policy), directory / "fresh")
    began_s = time.monotonic()
    await aged.create()
    watching = asyncio.create_task(aged.watch(documents, began_s))
    await aged.write(documents.all(), writers)
    written_s = time.monotonic() - began_s
    await aged.write(documents.updates(round(_UPDATES * scale), updated), writers)
    updated_s = time.monotonic() - began_s
    await asyncio.sleep(rest_s)
    watching.cancel()
    await asyncio.wait({watching})
    await fresh.create()
    await fresh.load(list(documents.all()))
    await asyncio.sleep(rest_s)
    compared = await compare(aged, fresh, documents)
    for subject in (aged, fresh):
        await subject.store.close()
    return {
        "command": " ".join(["python -m loadtest.ageing", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "processor": machine.processor(),
        "documents": documents.count,
        "updates": round(_UPDATES * scale),
        "writers": writers,
        "retention_s": policy.retention_s,
        "written_s": round(written_s, 1),
        "updated_s": round(updated_s, 1),
        "moments": aged.moments,
        "compared": compared,
    }


def _print(document: dict[str, Any]) -> None:
    table = Table("", "after single writes", "after one load", "ratio")
    for name, (aged, fresh) in document["compared"].items():
        table.add_row(name, f"{aged:,}", f"{fresh:,}", f"{aged / fresh:.2f}")
    Console().print(table)


def _index_environment() -> dict[str, str]:
    """Return the variables with which the profile `local` starts the Index."""
    deployments = application(load_profile("local"))["deployments"]
    [index] = [one for one in deployments if one["name"] == "Index"]
    variables: dict[str, str] = index["ray_actor_options"]["runtime_env"]["env_vars"]
    return variables


if __name__ == "__main__":
    if not _index_environment().items() <= os.environ.items():
        # The allocator reads them when a process starts.
        command = [sys.executable, "-m", "loadtest.ageing", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | _index_environment())
    typer.run(ageing)
