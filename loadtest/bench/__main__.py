"""Winnow and its peers on the same models, machine and run: `python -m loadtest.bench`.

Servers take turns, each alone on the machine. A round measures all of them once; the table shows
medians over the rounds. Peers that cannot share this project's packages have environments of their
own, made by `make bench`.
"""

import json
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from math import ceil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cluster.models.pull import default_cache, resolve
from loadtest.bench import machine, report, wrk
from loadtest.bench.servers import Infinity, Models, Plain, Server, Vllm, Winnow
from loadtest.bench.workloads import WORKLOADS, Kind, Texts, Workload, bodies, documents

_PORT = 8090
_KINDS: tuple[Kind, ...] = ("embed", "rerank", "search")
_WARM_UP_S = 3
# Above the rows/s of any server here, so that a run has enough texts to send none twice: a cache
# would answer the second.
_FASTEST_ROWS_PER_S = {"embed": 1_200, "rerank": 500, "search": 2_000}
_ENGINE_ROWS = 1_024
# wrk counts whole answers: with fewer the rate would be too coarse.
_FEWEST_REQUESTS = 20
_DOCUMENTS = 500
_EMBEDDER, _RERANKER = "all-MiniLM-L6-v2", "ms-marco-MiniLM-L-12-v2"
_CORPUS = "wikipedia-summaries-en"

Measurements = dict[tuple[Workload, str], list[wrk.Measurement]]


def bench(
    rounds: Annotated[int, typer.Option(help="Every server is measured this often.")] = 2,
    seconds: Annotated[
        int,
        typer.Option(help="How long each run lasts; large requests thrice, or longer if need be."),
    ] = 12,
    only: Annotated[str, typer.Option(help="Servers whose name contains this.")] = "",
    workloads: Annotated[str, typer.Option(help="Workloads whose name contains this.")] = "",
    environments: Annotated[Path, typer.Option(help="Where the peers' own are.")] = Path(".bench"),
    output: Annotated[Path, typer.Option()] = Path("loadtest/results/bench"),
) -> None:
    """Measure all servers and write OUTPUT.json and OUTPUT.svg."""
    output.parent.mkdir(parents=True, exist_ok=True)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="w-bench-", dir="/tmp") as directory:
        work = Path(directory)
        models, texts = _load_inputs(work)
        servers = [one for one in _servers(work, environments) if only in one.name]
        chosen = [one for one in WORKLOADS if workloads in one.name]
        if not servers or not chosen:
            raise typer.BadParameter(f"no server is called {only!r} or no workload {workloads!r}")
        limits = _limits(models, texts, work)
        durations_s = {one: _duration_s(one, seconds, limits[one.kind]) for one in chosen}
        seen: Measurements = defaultdict(list)
        for number, kind, server in _turns(rounds, servers, chosen):
            console.print(f"round {number + 1} of {rounds}: {kind}, {server.name}")
            driven = [one for one in chosen if one.kind == kind]
            _measure(console, server, driven, models, texts[kind], durations_s, work, seen)
    rows = [
        report.median_row(workload, server.name, seen[workload, server.name])
        for workload in chosen
        for server in servers
        if workload.kind in server.kinds
    ]
    report.show(console, rows, limits, Winnow.name)
    report.write(output.with_suffix(".json"), rows, limits, _about(rounds, seconds))
    report.plot(output.with_suffix(".svg"), rows, limits)


def _servers(work: Path, environments: Path) -> list[Server]:
    return [
        Winnow(_PORT, work / "winnow", "local"),
        Vllm(_PORT, work),
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


def _limits(models: Models, texts: dict[Kind, Texts], work: Path) -> dict[Kind, float]:
    """Measure rows/s of each engine alone; the rows of a search are its reranked pairs."""
    embed, rerank = (
        _engine_alone(workload, models, texts[workload.kind], work)
        for workload in (Workload("embed", 256, 1), Workload("rerank", 100, 1))
    )
    return {"embed": embed, "rerank": rerank, "search": rerank}


def _duration_s(workload: Workload, seconds: int, rows_per_s: float) -> int:
    """Length of a run: long enough for `_FEWEST_REQUESTS` at the engine's own `rows_per_s`."""
    return max(seconds * workload.slowness, ceil(_FEWEST_REQUESTS * workload.rows / rows_per_s))


def _engine_alone(workload: Workload, models: Models, texts: Texts, work: Path) -> float:
    file = work / "engine.jsonl"
    _write(file, bodies(workload, "model", texts, _ENGINE_ROWS // workload.rows))
    command = [sys.executable, "-m", "loadtest.bench.raw", workload.kind]
    done = subprocess.run(
        [*command, str(models.of(workload.kind)), str(file)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    rows_per_s: float = json.loads(done.stdout.splitlines()[-1])["rows_per_s"]
    return rows_per_s


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n")


def _measure(  # noqa: PLR0913 # a run needs all of these
    console: Console,
    server: Server,
    driven: list[Workload],
    models: Models,
    texts: Texts,
    durations_s: Mapping[Workload, int],
    work: Path,
    seen: Measurements,
) -> None:
    kind = driven[0].kind
    with server.serving(kind, models) as running:
        for workload in driven:
            warm_up, file = work / "warm-up.jsonl", work / "bodies.jsonl"
            fastest = _FASTEST_ROWS_PER_S[kind] / workload.rows
            first, requests = int(fastest * _WARM_UP_S), int(fastest * durations_s[workload])
            made = bodies(workload, running.model, texts, first + requests)
            _write(warm_up, made[:first])
            _write(file, made[first:])
            wrk.run(running.url, running.headers, warm_up, workload.connections, _WARM_UP_S)
            measured = wrk.run(
                running.url, running.headers, file, workload.connections, durations_s[workload]
            )
            if measured.requests > requests:
                raise RuntimeError(f"{server.name} had texts twice in {workload.name}")
            seen[workload, server.name].append(measured)
            rows_per_s = measured.requests_per_s * workload.rows
            console.print(f"  {workload.name}: {rows_per_s:.0f} rows/s, {measured.failed} failed")


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
