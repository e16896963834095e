"""`python -m loadtest.chaos`: hurt a real cluster under steady load and count what clients saw.

Prints a line a fault as it ends, then the table, and writes both to loadtest/results/.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import psutil

from loadtest.chaos.faults import ALL, SHORT, Fault, IsRepaired
from loadtest.chaos.load import Load
from loadtest.chaos.report import Row, as_table, row_of
from loadtest.chaos.stand import Stand

_RATES = {"search": 3.0, "embed": 3.0, "rerank": 1.0, "upsert": 1.0}
_BEFORE_S = 8.0
_AFTER_S = 4.0
_PATIENCE_S = 120.0
_POLL_S = 0.5
_RESULTS = Path(__file__).parents[1] / "results"


async def measure(stand: Stand, faults: Sequence[Fault]) -> list[Row]:
    """One row a fault, each under a load of its own, on a cluster that is whole when it begins."""
    rows = []
    for fault in faults:
        await _wait_until_whole(stand)
        rows.append(await _measure(stand, fault))
        sys.stderr.write(f"{' | '.join(rows[-1].cells())}\n")
        for problem in rows[-1].problems[:5]:
            sys.stderr.write(f"    {problem}\n")
    return rows


async def _measure(stand: Stand, fault: Fault) -> Row:
    load = Load(stand.running.url, stand.state.api_key(), _RATES)
    await load.prepare()
    sending = asyncio.create_task(load.run())
    await asyncio.sleep(_BEFORE_S)
    began_s = time.monotonic()
    is_repaired = await asyncio.to_thread(fault.strike, stand)
    repaired_s = await _wait_for_repair(is_repaired, began_s)
    await asyncio.sleep(_AFTER_S)
    end_s = time.monotonic()
    sending.cancel()
    await load.drain()
    return row_of(fault.name, load.outcomes, began_s, repaired_s, end_s)


async def _wait_for_repair(is_repaired: IsRepaired, began_s: float) -> float | None:
    while time.monotonic() < began_s + _PATIENCE_S:
        if await asyncio.to_thread(_answers_yes, is_repaired):
            return time.monotonic()
        await asyncio.sleep(_POLL_S)
    return None


async def _wait_until_whole(stand: Stand) -> None:
    if await _wait_for_repair(stand.is_whole, time.monotonic()) is None:
        raise RuntimeError("the cluster did not come back: see 'winnow status'")


def _answers_yes(question: IsRepaired) -> bool:
    try:
        return question()
    except (httpx.HTTPError, psutil.Error, ValueError, KeyError, TypeError):
        return False  # who would know is itself being replaced


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.chaos")
    parser.add_argument("--short", action="store_true", help="three faults only")
    parser.add_argument("--only", help="faults whose name holds this")
    parser.add_argument("--save", default="chaos", help="name of the files in loadtest/results/")
    options = parser.parse_args()
    faults = [one for one in (SHORT if options.short else ALL) if (options.only or "") in one.name]
    with tempfile.TemporaryDirectory(prefix="winnow-chaos-") as directory:
        stand = Stand(Path(directory))
        try:
            stand.up()
            rows = asyncio.run(measure(stand, faults))
        finally:
            stand.down()
    table = as_table(rows)
    sys.stdout.write(f"{table}\n")
    (_RESULTS / f"{options.save}.md").write_text(f"{table}\n")
    document = {"requests_per_s": _RATES, "rows": [row.as_json() for row in rows]}
    (_RESULTS / f"{options.save}.json").write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
