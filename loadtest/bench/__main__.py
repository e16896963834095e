"""Winnow and its peers on the same models, machine and run: `python -m loadtest.bench`.

Servers take turns, each alone on the machine. A round measures all of them once; the tables show
medians over the rounds. Peers that cannot share this project's packages have environments of their
own, made by `make bench`.
"""

import json
import os
import platform
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from math import ceil
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markdown import Markdown

from cluster.models.pull import default_cache, resolve
from loadtest.bench import half_rate, machine, wrk
from loadtest.bench.cpu import CpuTimes
from loadtest.bench.engine_limit import EngineRate, engine_rates
from loadtest.bench.report import Report
from loadtest.bench.rows import LatencyRow, Round, Row
from loadtest.bench.servers import Endpoint, Infinity, Models, Plain, Server, Vllm, Winnow
from loadtest.bench.targets import behind, targets
from loadtest.bench.workloads import WORKLOADS, Kind, Texts, Workload, bodies, documents
from loadtest.run.results import Results

_PORT = 8090
_KINDS: tuple[Kind, ...] = ("embed", "rerank", "search")
_WARM_UP_S = 3
# Above the rows/s of any server here, so that a run has enough texts to send none twice: a cache
# would answer the second.
_FASTEST_ROWS_PER_S = {"embed": 1_200, "rerank": 500, "search": 2_000}
# The raw engines' work; the bodies' rows are cut into batches anew.
_RAW = (Workload("embed", 256, 1), Workload("rerank", 100, 1))
_ENGINE_ROWS = 1_024
# wrk counts whole answers: with fewer the rate would be too coarse.
_FEWEST_REQUESTS = 20
_DOCUMENTS = 500
_EMBEDDER, _RERANKER = "all-MiniLM-L6-v2", "ms-marco-MiniLM-L-12-v2"
_CORPUS = "wikipedia-summaries-en"
# Their p99 is measured at half of the highest rate; larger requests are too few for one.
_PACED = ("embed-1", "embed-32")


class Bench:
    """One run: the servers under test, their inputs, and what has been seen so far."""

    def __init__(self, console: Console, work: Path, environments: Path, seconds: int) -> None:
        self._console, self._work, self._seconds = console, work, seconds
        self._models, self._texts = _load_inputs(work)
        self.servers = _servers(work, environments)
        self.engines: dict[Kind, Sequence[EngineRate]] = {}
        self._rounds: dict[tuple[Workload, str], list[Round]] = defaultdict(list)
        self._paced: dict[tuple[Workload, str], list[Results]] = defaultdict(list)

    def measure_engines(self, kinds: Sequence[Kind]) -> None:
        """Measure raw engines; those of a search are the reranker's, which is most of its work."""
        for workload in _RAW:
            kind = workload.kind
            if kind in kinds or (kind == "rerank" and "search" in kinds):
                self._console.print(f"raw engines: {kind}")
                count = _ENGINE_ROWS // workload.rows
                texts = bodies(workload, "model", self._texts[kind], count)
                self.engines[kind] = engine_rates(kind, self._models.of(kind), texts, self._work)

    def measure(self, server: Server, workloads: Sequence[Workload]) -> None:
        """Drive one server by all `workloads`, of one kind, in the closed loop."""
        with server.serving(workloads[0].kind, self._models) as running:
            for workload in workloads:
                done = self._drive(running, workload)
                self._rounds[workload, server.name].append(done)
                rows_per_s = done.measured.requests_per_s * workload.rows
                failed = done.measured.failed
                self._console.print(f"  {workload.name}: {rows_per_s:.0f} rows/s, {failed} failed")

    def _drive(self, running: Endpoint, workload: Workload) -> Round:
        seconds = self._duration_s(workload)
        warm_up, file = self._work / "warm-up.jsonl", self._work / "bodies.jsonl"
        fastest = _FASTEST_ROWS_PER_S[workload.kind] / workload.rows
        first, requests = int(fastest * _WARM_UP_S), int(fastest * seconds)
        made = bodies(workload, running.model, self._texts[workload.kind], first + requests)
        _write(warm_up, made[:first])
        _write(file, made[first:])
        wrk.run(running.url, running.headers, warm_up, workload.connections, _WARM_UP_S)
        before = CpuTimes.now()
        done = wrk.run(running.url, running.headers, file, workload.connections, seconds)
        if done.requests > requests:
            raise RuntimeError(f"{running.url} had texts twice in {workload.name}")
        return Round(done, CpuTimes.now().since(before))

    def _duration_s(self, workload: Workload) -> int:
        """Length of a run: long enough for `_FEWEST_REQUESTS` at the raw engine's rate."""
        kind: Kind = "rerank" if workload.kind == "search" else workload.kind
        rows_per_s = max(one.rows_per_s for one in self.engines[kind])
        fewest_s = ceil(_FEWEST_REQUESTS * workload.rows / rows_per_s)
        return max(self._seconds * workload.slowness, fewest_s)

    def pace(self, server: Server, workloads: Sequence[Workload]) -> None:
        """Drive one server by each of `workloads` at half of the highest rate of any."""
        with server.serving(workloads[0].kind, self._models) as running:
            for workload in workloads:
                rate = self._half_rate(workload)
                texts = self._texts[workload.kind]
                warm_up = bodies(workload, running.model, texts, ceil(rate * _WARM_UP_S))
                half_rate.drive(running, warm_up, rate)
                seconds = self._duration_s(workload) * 2
                sent = bodies(workload, running.model, texts, ceil(rate * seconds))
                seen = half_rate.drive(running, sent, rate)
                self._paced[workload, server.name].append(seen)
                self._console.print(f"  {workload.name}: p99 {seen.percentile_ms(99):.0f} ms")

    def _half_rate(self, workload: Workload) -> float:
        return max(row.requests_per_s for row in self.rows() if row.workload == workload) / 2

    def rows(self) -> list[Row]:
        return sorted(
            (Row.of(workload, name, seen) for (workload, name), seen in self._rounds.items()),
            key=lambda row: (WORKLOADS.index(row.workload), self._place(row.server)),
        )

    def latencies(self) -> list[LatencyRow]:
        found = [
            LatencyRow.of(workload, name, self._half_rate(workload), seen)
            for (workload, name), seen in self._paced.items()
        ]
        return sorted(
            found, key=lambda row: (WORKLOADS.index(row.workload), self._place(row.server))
        )

    def _place(self, name: str) -> int:
        return [server.name for server in self.servers].index(name)


def bench(
    rounds: Annotated[int, typer.Option(help="Every server is measured this often.")] = 2,
    seconds: Annotated[
        int,
        typer.Option(help="How long each run lasts; large requests thrice, or longer if need be."),
    ] = 10,
    only: Annotated[str, typer.Option(help="Servers whose name contains this.")] = "",
    workloads: Annotated[str, typer.Option(help="Workloads whose name contains this.")] = "",
    environments: Annotated[Path, typer.Option(help="Where the peers' own are.")] = Path(".bench"),
    overhead: Annotated[
        Path | None, typer.Option(help="loadtest.overhead's document, for its targets.")
    ] = None,
    output: Annotated[Path, typer.Option()] = Path("loadtest/results/bench"),
) -> None:
    """Measure all servers; write OUTPUT.json, .md and .svg. Exits 1 if Winnow is behind a peer."""
    output.parent.mkdir(parents=True, exist_ok=True)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="w-bench-", dir="/tmp") as directory:
        run = Bench(console, Path(directory), environments, seconds)
        servers = [one for one in run.servers if only in one.name]
        chosen = [one for one in WORKLOADS if workloads in one.name]
        if not servers or not chosen:
            raise typer.BadParameter(f"no server is called {only!r} or no workload {workloads!r}")
        run.measure_engines([one.kind for one in chosen])
        for number, kind, server in _turns(rounds, servers, chosen):
            console.print(f"round {number + 1} of {rounds}: {kind}, {server.name}")
            run.measure(server, [one for one in chosen if one.kind == kind])
        paced = [one for one in chosen if one.name in _PACED]
        for number, _, server in _turns(rounds, servers, paced):
            console.print(f"half of the highest rate, {number + 1} of {rounds}: {server.name}")
            run.pace(server, paced)
    report = _report(run, _about(rounds, seconds), overhead)
    report.write(output)
    console.print(Markdown(report.page()))
    if late := behind(report.rows, Winnow.name):
        console.print(f"behind the best peer: {', '.join(late)}")
        raise typer.Exit(1)


def _report(run: Bench, about: Mapping[str, Any], overhead: Path | None) -> Report:
    found = Report(about, Winnow.name, run.engines, run.rows(), run.latencies(), ())
    limits = {kind: found.limit(kind) for kind in run.engines}
    graph = json.loads(overhead.read_text()) if overhead else None
    met = targets(found.rows, found.latencies, limits, graph, Winnow.name)
    return replace(found, targets=met)


def _servers(work: Path, environments: Path) -> list[Server]:
    return [
        Winnow(_PORT, work / "winnow", "local"),
        Vllm(_PORT, work),
        *([Vllm(_PORT, work, cores)] if (cores := os.cpu_count() or 1) > 1 else []),
        Infinity(_PORT, work, environments / "infinity"),
        Plain(_PORT, work, environments / "plain"),
    ]


def _load_inputs(work: Path) -> tuple[Models, dict[Kind, Texts]]:
    """Return the `local` profile's models and texts of the demo's corpus, from the model cache."""
    embed, rerank, corpus = (
        Path(resolve(name, default_cache(), Console())) for name in (_EMBEDDER, _RERANKER, _CORPUS)
    )
    models = Models(embed, rerank, work / "documents.jsonl")
    [pages] = corpus.glob("*.jsonl")
    texts = {kind: Texts(models.of(kind) / "tokenizer.json", pages) for kind in _KINDS}
    models.documents.write_text("\n".join(documents(texts["search"], _DOCUMENTS)) + "\n")
    return models, texts


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n")


def _turns(
    rounds: int, servers: Sequence[Server], workloads: Sequence[Workload]
) -> Iterator[tuple[int, Kind, Server]]:
    """Yield the order of measurements; every other round takes the servers in reverse."""
    for number in range(rounds):
        for kind in dict.fromkeys(one.kind for one in workloads):
            for server in servers if number % 2 == 0 else servers[::-1]:
                if kind in server.kinds:
                    yield number, kind, server


def _about(rounds: int, seconds: int) -> dict[str, object]:
    return {
        "command": " ".join(["python -m loadtest.bench", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "processor": machine.processor(),
        "dtype": machine.dtype(),
        "python": platform.python_version(),
        "rounds": rounds,
        "seconds": seconds,
    }


if __name__ == "__main__":
    typer.run(bench)
