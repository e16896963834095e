"""`python -m loadtest.rollouts`: roll `production-local` to one change after another, under load.

Prints a line after each rollout, then the table, and writes both to loadtest/results/. Exits 1 if
a request failed or was refused.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from loadtest.bench import machine
from loadtest.chaos.faults import wait_for_repair
from loadtest.chaos.load import steady_load
from loadtest.chaos.report import COLUMNS, Row, row_of
from loadtest.markdown import as_table
from loadtest.production.cluster import ProductionCluster
from loadtest.rollouts.changes import ALL, Change
from loadtest.traffic import Route

# Of 10 requests: as in `make chaos`, at another rate.
_MIX: dict[Route, float] = {"search": 0.4, "embed": 0.3, "rerank": 0.1, "ingest": 0.2}
_COLUMNS = ("rollout", *COLUMNS[1:-1], "rolled out, s")
_BEFORE_S = 10.0
_PATIENCE_S = 400.0
_RESULTS = Path(__file__).parents[1] / "results"


async def roll(cluster: ProductionCluster, change: Change, per_s: float, requests: int) -> Row:
    """Make the change under load; go on until `requests` were sent since it began.

    Raises RuntimeError if the rollout does not end.
    """
    rates = {route: per_s * share for route, share in _MIX.items()}
    async with steady_load(cluster.running.url, cluster.state.api_key(), rates) as loop:
        await asyncio.sleep(_BEFORE_S)
        began_s = time.monotonic()
        await asyncio.to_thread(change.make, cluster)
        rolled_s = await wait_for_repair(cluster.is_whole, time.monotonic(), _PATIENCE_S)
        if rolled_s is None:
            raise RuntimeError(f"{change.name} did not end: see 'winnow status'")
        least_s = began_s + requests / per_s
        await asyncio.sleep(max(0.0, least_s - time.monotonic()))
        end_s = time.monotonic()
    return row_of(change.name, loop.outcomes, began_s, rolled_s, end_s)


async def roll_all(
    cluster: ProductionCluster, changes: Sequence[Change], per_s: float, requests: int
) -> list[Row]:
    """Roll out one change after another; `requests` are sent in all, at least."""
    rows = []
    for change in changes:
        rows.append(await roll(cluster, change, per_s, -(-requests // len(changes))))
        sys.stderr.write(f"{' | '.join(rows[-1].cells())}\n")
        for problem in rows[-1].problems[:5]:
            sys.stderr.write(f"    {problem}\n")
    return rows


def main(
    per_s: Annotated[float, typer.Option(help="Requests a second.")] = 10,
    requests: Annotated[int, typer.Option(help="Requests in all, at least.")] = 5_000,
    only: Annotated[list[str] | None, typer.Option(help="Rollouts whose name holds this.")] = None,
    save: Annotated[str, typer.Option(help="Name of the files in loadtest/results/.")] = "rollouts",
) -> None:
    """Roll out a new version, a plan, a model's revision and a size of nodes."""
    changes = [one for one in ALL if any(part in one.name for part in only or [""])]
    with tempfile.TemporaryDirectory(prefix="w-rollouts-", dir="/tmp") as directory:
        cluster = ProductionCluster(Path(directory))
        try:
            cluster.up()
            rows = asyncio.run(roll_all(cluster, changes, per_s, requests))
        finally:
            cluster.down()
    table = as_table(_COLUMNS, [row.cells() for row in rows])
    sent, failed = sum(row.sent for row in rows), sum(row.failed + row.refused for row in rows)
    command = " ".join(["python -m loadtest.rollouts", *sys.argv[1:]])
    text = f"{table}\n\n{failed} of {sent} requests failed. `{command}`, {machine.processor()}.\n"
    sys.stdout.write(text)
    (_RESULTS / f"{save}.md").write_text(text)
    document = {
        "command": command,
        "date": date.today().isoformat(),
        "processor": machine.processor(),
        "requests_per_s": per_s,
        "rows": [row.as_json() for row in rows],
    }
    (_RESULTS / f"{save}.json").write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    typer.run(main)
