"""`python -m loadtest.overhead`: the cost of the pipeline itself.

Drives `/v1/search` with free engines and a free index, a bare Serve graph of two hops, and a bare
FastAPI server. All run at once and are driven in turn; the table shows medians over the rounds. If
py-spy is installed, OUTPUT-router.svg shows where the Router spends its time.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.table import Table

from cluster.profile import load_profile
from loadtest.bench import machine, wrk
from loadtest.bench.servers import wait
from loadtest.local_cluster import LocalCluster

_ROOT = Path(__file__).parents[2]
_BARE_PORT = 8092
_CONNECTIONS = 32
_WARM_UP_S = 3
_QUERIES = 50_000
_TOP_K = 20
_TWO_HOPS = "two-hop Serve graph"
_PATIENCE_S = 60


def overhead(
    rounds: Annotated[int, typer.Option(help="Every server is measured this often.")] = 3,
    seconds: Annotated[int, typer.Option(help="How long each run lasts.")] = 8,
    routers: Annotated[int, typer.Option(help="Router replicas of Winnow's.")] = 1,
    output: Annotated[Path, typer.Option()] = Path("loadtest/results/overhead"),
) -> None:
    """Measure all and write OUTPUT.json."""
    output.parent.mkdir(parents=True, exist_ok=True)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="w-over-", dir="/tmp") as directory:
        work = Path(directory)
        bodies = {rerank: _bodies(work, rerank) for rerank in (True, False)}
        with _winnow(work, routers) as cluster, _bare():
            winnow = cluster.running.url
            headers = {"Authorization": f"Bearer {cluster.state.api_key()}"}
            targets = {
                "FastAPI alone": (f"http://127.0.0.1:{_BARE_PORT}/search", bodies[True]),
                _TWO_HOPS: (f"{winnow}/bare/search", bodies[True]),
                "Winnow": (f"{winnow}/v1/search", bodies[True]),
                "Winnow, rerank: false": (f"{winnow}/v1/search", bodies[False]),
            }
            seen: dict[str, list[wrk.Measurement]] = {name: [] for name in targets}
            for url, file in targets.values():
                wrk.run(url, headers, file, _CONNECTIONS, _WARM_UP_S)
            for _ in range(rounds):
                for name, (url, file) in targets.items():
                    seen[name].append(wrk.run(url, headers, file, _CONNECTIONS, seconds))
            _profile(targets["Winnow"], headers, output)
    _report(console, seen, routers, output)


def _bodies(work: Path, rerank: bool) -> Path:
    path = work / f"bodies-{rerank}.jsonl"
    body = {"collection": "any", "top_k": _TOP_K, "top_n": 5, "rerank": rerank}
    with path.open("w") as file:
        for number in range(_QUERIES):
            file.write(json.dumps(body | {"query": f"who wrote book number {number}"}) + "\n")
    return path


@contextmanager
def _winnow(work: Path, routers: int) -> Iterator[LocalCluster]:
    profile = load_profile("local")
    [app] = profile["applications"]
    app["import_path"] = "loadtest.overhead.apps:winnow"
    # Without the profile's small calls and batches, which suit a slow engine: the defaults.
    for limits in ("embed_calls", "rerank_calls"):
        del app["args"]["router"][limits]
    for deployment in app["deployments"]:
        deployment["num_replicas"] = routers if deployment["name"] == "Router" else 1
        if "user_config" in deployment:
            deployment["user_config"] = {}
    cluster = LocalCluster(work / "state", profile)
    try:
        cluster.up()
        _add_two_hops(cluster)
        yield cluster
    finally:
        cluster.down()


def _add_two_hops(cluster: LocalCluster) -> None:
    """Deploy the graph of two hops beside Winnow, in the same Serve."""
    serve = cluster.serve()
    bare = {"name": "bare", "route_prefix": "/bare", "args": {}}
    apps = [*serve.configurations(), bare | {"import_path": "loadtest.overhead.apps:two_hops"}]
    serve.deploy({"applications": apps})
    until = time.monotonic() + _PATIENCE_S
    while serve.application("bare").status != "RUNNING" and time.monotonic() < until:
        time.sleep(0.5)
    wait(f"{cluster.running.url}/bare/docs")


@contextmanager
def _bare() -> Iterator[None]:
    command = [sys.executable, "-m", "loadtest.overhead.bare", str(_BARE_PORT)]
    process = subprocess.Popen(command, cwd=_ROOT)
    try:
        wait(f"http://127.0.0.1:{_BARE_PORT}/docs")
        yield
    finally:
        process.terminate()
        process.wait()


def _profile(target: tuple[str, Path], headers: dict[str, str], output: Path) -> None:
    py_spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if py_spy is None:
        return
    router, *_ = [
        str(process.pid)
        for process in psutil.process_iter()
        if process.name().startswith("ray::Serve")
        and "winnow:Router" in " ".join(process.cmdline())
    ]
    svg = output.with_name(f"{output.name}-router.svg")
    # Without the path of py-spy, because the plot shows the command.
    command = ["py-spy", "record", "--pid", router, "--duration", "6", "--rate", "200"]
    command += ["--output", str(svg)]
    with subprocess.Popen(command, executable=py_spy, stdout=subprocess.DEVNULL):
        wrk.run(target[0], headers, target[1], _CONNECTIONS, 8)


def _report(
    console: Console, seen: dict[str, list[wrk.Measurement]], routers: int, output: Path
) -> None:
    medians = {
        name: {
            "requests_per_s": statistics.median(one.requests_per_s for one in runs),
            "p50_ms": statistics.median(one.p50_ms for one in runs),
            "p99_ms": statistics.median(one.p99_ms for one in runs),
            "failed": sum(one.failed for one in runs),
        }
        for name, runs in seen.items()
    }
    limit = medians[_TWO_HOPS]["requests_per_s"]
    table = Table("server", "requests/s", "p50 ms", "p99 ms", "failed", "of two hops")
    for name, row in medians.items():
        figures = [f"{row[key]:.0f}" for key in ("requests_per_s", "p50_ms", "p99_ms", "failed")]
        table.add_row(name, *figures, f"{row['requests_per_s'] / limit:.2f}")
    console.print(table)
    document: dict[str, Any] = {
        "command": " ".join(["python -m loadtest.overhead", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "processor": machine.processor(),
        "connections": _CONNECTIONS,
        "routers": routers,
        "medians": medians,
    }
    output.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(overhead)
