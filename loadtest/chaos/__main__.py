"""`python -m loadtest.chaos`: strike faults at a cluster under steady load; count what clients saw.

Prints a line after each fault, then the table, and writes both to loadtest/results/.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from loadtest.bench import machine
from loadtest.chaos.cluster import ReplicatedCluster
from loadtest.chaos.faults import ALL, GCS, SHORT, Fault, wait_for_repair
from loadtest.chaos.load import steady_load
from loadtest.chaos.report import COLUMNS, Row, row_of
from loadtest.markdown import as_table
from loadtest.production.cluster import PROFILE, ProductionCluster
from loadtest.traffic import Route

RATES: dict[Route, float] = {"search": 3.0, "embed": 3.0, "rerank": 1.0, "ingest": 1.0}
_BEFORE_S = 8.0
_AFTER_S = 4.0
_PATIENCE_S = 120.0
_RESULTS = Path(__file__).parents[1] / "results"


ChaosCluster = ReplicatedCluster | ProductionCluster


async def measure(
    cluster: ChaosCluster,
    faults: Sequence[Fault],
    rates: Mapping[Route, float] = RATES,
    before_s: float = _BEFORE_S,
) -> list[Row]:
    """Measure one row a fault, each under a load of its own, on a cluster that is whole again.

    `rates` are requests a second by route; they run for `before_s` before the fault strikes.
    Raises RuntimeError if the cluster does not become whole between two faults.
    """
    rows = []
    if not cluster.survives_its_gcs and GCS in faults:
        sys.stderr.write(f"there is no redis-server here, so no {GCS.name}\n")
        faults = [fault for fault in faults if fault is not GCS]
    for fault in faults:
        await _wait_until_whole(cluster)
        rows.append(await _measure(cluster, fault, rates, before_s))
        sys.stderr.write(f"{' | '.join(rows[-1].cells())}\n")
        for problem in rows[-1].problems[:5]:
            sys.stderr.write(f"    {problem}\n")
    return rows


async def _measure(
    cluster: ChaosCluster, fault: Fault, rates: Mapping[Route, float], before_s: float
) -> Row:
    async with steady_load(cluster.running.url, cluster.state.api_key(), rates) as loop:
        await asyncio.sleep(before_s)
        began_s = time.monotonic()
        is_repaired = await asyncio.to_thread(fault.strike, cluster)
        repaired_s = await wait_for_repair(is_repaired, time.monotonic(), _PATIENCE_S)
        await asyncio.sleep(_AFTER_S)
        end_s = time.monotonic()
    return row_of(fault.name, loop.outcomes, began_s, repaired_s, end_s)


async def _wait_until_whole(cluster: ChaosCluster) -> None:
    if await wait_for_repair(cluster.is_whole, time.monotonic(), _PATIENCE_S) is None:
        raise RuntimeError("the cluster did not come back: see 'winnow status'")


def _take_precedence() -> None:
    """Raise this process's priority, where permitted (to root).

    Replicas that start take every core: a client without priority would wait seconds for one and
    count that as the service's latency.
    """
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.chaos")
    parser.add_argument("--short", action="store_true", help="a few faults only")
    parser.add_argument("--only", action="append", help="faults whose name holds this; may recur")
    parser.add_argument("--save", help="name of the files in loadtest/results/")
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual requests/s")
    parser.add_argument("--profile", choices=["local", PROFILE], default="local")
    options = parser.parse_args()
    rates = {route: options.scale * rate for route, rate in RATES.items()}
    faults = [
        fault
        for fault in (SHORT if options.short else ALL)
        if any(part in fault.name for part in options.only or [""])
    ]
    _take_precedence()
    with tempfile.TemporaryDirectory(prefix="winnow-chaos-") as directory:
        kind = ProductionCluster if options.profile == PROFILE else ReplicatedCluster
        cluster: ChaosCluster = kind(Path(directory))
        try:
            cluster.up()
            rows = asyncio.run(measure(cluster, faults, rates))
        finally:
            cluster.down()
    table = as_table(COLUMNS, [row.cells() for row in rows])
    sys.stdout.write(f"{table}\n")
    usual = "chaos" if options.profile == "local" else f"chaos-{options.profile}"
    save = options.save or usual
    command = " ".join(["python -m loadtest.chaos", *sys.argv[1:]])
    (_RESULTS / f"{save}.md").write_text(f"{table}\n\n`{command}`, {machine.processor()}.\n")
    document = {
        "command": command,
        "date": date.today().isoformat(),
        "processor": machine.processor(),
        "requests_per_s": rates,
        "rows": [row.as_json() for row in rows],
    }
    (_RESULTS / f"{save}.json").write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
