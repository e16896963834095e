"""`python -m loadtest.overload`: a local cluster under more load than it can do, and neighbours.

First measures its capacity, with as many concurrent requests as fill its batches. Then sends one,
two and five times that rate. Last measures how one tenant's flood and a bulk ingestion affect other
tenants. Prints tables and writes them to loadtest/results/. With --paced the engines only sleep, so
that stages do not compete for cores and what remains is Winnow's own cost. Under the profile
production-local every stage has its two replicas here and does not scale.
"""

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson

from cluster.client import ApiError, WinnowClient
from cluster.profile import application
from loadtest.bench import machine
from loadtest.local_cluster import LocalCluster
from loadtest.markdown import as_table
from loadtest.overload.figures import Figures, problems
from loadtest.overload.load import Kind, LoadResult, closed_loop, open_loop
from loadtest.overload.memory import DEPLOYMENTS, watched
from loadtest.production.cluster import OPERATOR, PROFILE, ProductionCluster
from loadtest.run.open_loop import Request
from loadtest.run.requests import Requests
from loadtest.run.service import Service, fill, local_service, served_models, serving
from loadtest.traffic import Trace
from loadtest.uncached import uncached_profile

KINDS = {
    "embed": Kind("embed", 32, 30),
    "rerank": Kind("rerank", 20, 40),
    "search": Kind("search", 20, 40),
}
_TIMES = (1.0, 2.0, 5.0)
_DEADLINE_S = 2.0
_AT_ONCE_A_REPLICA = 16
_WARM_UP_S = 5.0
_SETTLE_S = 10.0
_DOCUMENTS = 200
_TENANTS = ("noisy", "b", "c")
_QUIET = ("b", "c")
_NOISY_TIMES = 10.0
# Below their full share, so that the quiet tenants alone do not queue for one another.
_QUIET_PART = 0.5
_INGESTED = 100_000
_UPSERT = Kind("ingest", 64, 30)
_UPSERTS_AT_ONCE = 4
_PATIENCE_S = 60.0
_ANSWERS_IN_A_ROW = 20
_RESULTS = Path(__file__).parents[1] / "results"


class Experiment:
    """One service, and requests of which no two are alike."""

    def __init__(self, service: Service, seconds: float) -> None:
        assert service.cluster is not None
        self.service = service
        self.cluster: LocalCluster = service.cluster
        self.seconds = seconds
        self.requests = Requests(served_models(service.clients()[0]), 0)
        self._measured: dict[str, float] = {}

    async def overload(self, name: str) -> list[dict[str, Any]]:
        """Measure a row for each of `_TIMES`, multiples of the capacity."""
        kind, at_most = KINDS[name], await self._capacity(name)
        rows: list[dict[str, Any]] = []
        for times in _TIMES:
            trace = kind.trace({"noisy": times * at_most}, self.seconds)
            async with watched(self.cluster, _SETTLE_S if times == _TIMES[-1] else 1) as memory:
                figures = await self._send(trace)
            rows.append(
                {"kind": name, "times": times, "capacity_per_s": at_most}
                | {"figures": asdict(figures), "memory": asdict(memory)}
                | {"cells": _overload_cells(name, times, at_most, figures, memory.cells())}
            )
        return rows

    async def neighbours(self, name: str) -> list[dict[str, Any]]:
        """Measure the quiet tenants alone, beside a flooding one, and beside a bulk ingestion."""
        kind, share = KINDS[name], await self._capacity(name) / len(_TENANTS)
        seconds = 2 * self.seconds
        # The same requests each time, so that only their neighbours differ.
        quiet = kind.trace(dict.fromkeys(_QUIET, _QUIET_PART * share), seconds)
        flood = kind.trace({"noisy": _NOISY_TIMES * share}, seconds, seed=2)
        alone = await self._sent(quiet)
        beside = await self._sent(quiet.beside(flood))
        ingesting = asyncio.create_task(self._ingest(seconds + 2))
        await asyncio.sleep(1)
        beside_bulk = await self._sent(quiet)
        stored_per_s = await ingesting
        first = Figures.of(alone, _QUIET)
        rows = [_neighbour_row(name, "alone", first, first)]
        noisy = f"beside one at {_NOISY_TIMES:g}x its share"
        rows.append(_neighbour_row(name, noisy, Figures.of(beside, _QUIET), first))
        bulk = f"beside an ingestion, {stored_per_s:.0f} documents/s"
        rows.append(_neighbour_row(name, bulk, Figures.of(beside_bulk, _QUIET), first))
        minutes = _INGESTED / stored_per_s / 60
        _say(f"{name}: 100,000 documents would take {minutes:.0f} minutes at that rate")
        return rows

    async def _capacity(self, name: str) -> float:
        """Measure the capacity, requests/s, with enough concurrent requests to fill batches."""
        if name not in self._measured:
            endless = self._endless(KINDS[name])
            at_once = _AT_ONCE_A_REPLICA * len(self.cluster.replicas("Embedder"))
            await closed_loop(self.service, endless, at_once, _WARM_UP_S)
            full = await closed_loop(self.service, endless, at_once, self.seconds)
            self._measured[name] = Figures.of(full).served_per_s
            _say(f"{name}: {self._measured[name]:.1f} requests/s at most")
        return self._measured[name]

    async def _ingest(self, seconds: float) -> float:
        """Ingest in a closed loop for `seconds`; return documents stored a second."""
        upserts = self._endless(_UPSERT)
        done = await closed_loop(self.service, upserts, _UPSERTS_AT_ONCE, seconds)
        return Figures.of(done).served * _UPSERT.items / (done.ended_s - done.began_s)

    async def _send(self, trace: Trace) -> Figures:
        return Figures.of(await self._sent(trace))

    async def _sent(self, trace: Trace) -> LoadResult:
        sending = await open_loop(self.service, self.requests, trace, _DEADLINE_S)
        for problem in problems(sending.outcomes)[:5]:
            _say(f"    {problem}")
        return sending

    def _endless(self, kind: Kind) -> Iterator[Request]:
        traces = (kind.trace({"noisy": 1_000.0}, 1, seed) for seed in itertools.count())
        return itertools.chain.from_iterable(map(self.requests.of, traces))


_OVERLOAD = (
    *("requests", "load", "sent/s", "served in time/s", "of the most"),
    *("p50 / p99 ms", "refused", "refused in, p50 / p99 ms", "late", "lost"),
    *("client, cores", *(f"{name} MiB before, most, after" for name in DEPLOYMENTS)),
)
_NEIGHBOURS = (
    *("requests", "the others", "sent/s", "served", "refused", "late"),
    *("p50 / p99 ms", "p99 of alone"),
)


def _overload_cells(
    name: str, times: float, at_most: float, one: Figures, memory: list[str]
) -> list[str]:
    return [
        *(name, f"{times:g}x", f"{one.offered_per_s:.1f}", f"{one.served_per_s:.1f}"),
        *(f"{one.served_per_s / at_most:.2f}", str(one.latency), str(one.refused)),
        *(str(one.refusal), str(one.late), str(one.lost), f"{one.client_cores:.2f}", *memory),
    ]


def _neighbour_row(name: str, how: str, one: Figures, alone: Figures) -> dict[str, Any]:
    ratio = one.latency.p99 / alone.latency.p99
    counts = [str(count) for count in (one.served, one.refused, one.late)]
    cells = [name, how, f"{one.offered_per_s:.1f}", *counts, str(one.latency), f"{ratio:.2f}"]
    return {"kind": name, "beside": how, "figures": asdict(one), "ratio": ratio, "cells": cells}


async def measure(
    experiment: Experiment, kinds: list[str], neighbours: list[str]
) -> dict[str, list[dict[str, Any]]]:
    return {
        "overload": [row for name in kinds for row in await experiment.overload(name)],
        "neighbours": [row for name in neighbours for row in await experiment.neighbours(name)],
    }


@contextmanager
def _service(profile: str, paced: bool) -> Iterator[Service]:
    uncached = uncached_profile(profile)
    if paced:
        application(uncached)["import_path"] = "loadtest.overload.apps:paced"
    if profile != PROFILE:
        with local_service(uncached, dict.fromkeys(_TENANTS, "default")) as service:
            yield service
        return
    for deployment in application(uncached)["deployments"]:
        if scaling := deployment.get("autoscaling_config"):
            scaling["max_replicas"] = scaling["min_replicas"]
    with tempfile.TemporaryDirectory(prefix="w-over-", dir="/tmp") as directory:
        cluster = ProductionCluster(Path(directory), uncached)
        with serving(cluster, dict.fromkeys(_TENANTS, OPERATOR)) as service:
            for client in service.clients():
                _wait_until_known(client)
            yield service


def _wait_until_known(client: WinnowClient) -> None:
    """Wait until every Router knows the client's key: until many answers in a row say so.

    Raises TimeoutError.
    """
    known, until = 0, time.monotonic() + _PATIENCE_S
    while known < _ANSWERS_IN_A_ROW:
        if time.monotonic() > until:
            raise TimeoutError("a Router does not know a key that another has made")
        try:
            client.call("GET", "/v1/models")
            known += 1
        except ApiError as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise
            known = 0
            time.sleep(0.1)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.overload")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--neighbours", nargs="*", choices=list(KINDS), default=["embed", "search"])
    parser.add_argument("--paced", action="store_true", help="engines that only keep time")
    parser.add_argument("--profile", choices=["local", PROFILE], default="local")
    options = parser.parse_args()
    with _service(options.profile, options.paced) as service:
        experiment = Experiment(service, options.seconds)
        for client in service.clients():
            fill(client, experiment.requests, [40] * _DOCUMENTS)
        found = asyncio.run(measure(experiment, options.kinds, options.neighbours))
    about = {
        "command": " ".join(["python -m loadtest.overload", *sys.argv[1:]]),
        "plan": OPERATOR if options.profile == PROFILE else "default",
        "machine": machine.processor(),
        "seconds": options.seconds,
        "deadline_s": _DEADLINE_S,
    }
    of = f"-{options.profile}" * (options.profile != "local") + "-paced" * options.paced
    for name, columns in (("overload", _OVERLOAD), ("neighbours", _NEIGHBOURS)):
        if found[name]:
            table = as_table(columns, [row.pop("cells") for row in found[name]])
            _write(f"{name}{of}", table, about | {"rows": found[name]})


def _write(name: str, table: str, document: dict[str, Any]) -> None:
    sys.stdout.write(f"{table}\n\n")
    (_RESULTS / f"{name}.md").write_text(f"{table}\n")
    # orjson writes nan as null.
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    (_RESULTS / f"{name}.json").write_bytes(orjson.dumps(document, option=options))


if __name__ == "__main__":
    main()
