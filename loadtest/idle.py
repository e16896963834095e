"""`python -m loadtest.idle`: CPU time and memory of a cluster that nobody calls, by process.

Memory is the proportional set size: pages that processes share count once. Only the cluster's own
processes are counted, whatever else runs on the machine.
"""

import contextlib
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console

from cluster.local.head import processes
from cluster.profile import load_profile
from loadtest.bench import machine
from loadtest.bench.cpu import part_of
from loadtest.local_cluster import LocalCluster
from loadtest.markdown import as_table

_MIB = 2**20


def idle(
    profile: Annotated[str, typer.Option(help="What is started.")] = "local",
    settle: Annotated[float, typer.Option(help="Seconds from the start to the measuring.")] = 60,
    seconds: Annotated[float, typer.Option(help="How long is measured.")] = 60,
    output: Annotated[Path, typer.Option()] = Path("loadtest/results/idle"),
) -> None:
    """Measure and write OUTPUT.json and OUTPUT.md."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="w-idle-", dir="/tmp") as directory:
        cluster = LocalCluster(Path(directory) / "state", load_profile(profile))
        try:
            cluster.up()
            time.sleep(settle)
            before, began_s = _by_part(cluster, _cpu_seconds), time.monotonic()
            time.sleep(seconds)
            after, lasted_s = _by_part(cluster, _cpu_seconds), time.monotonic() - began_s
            memory = _by_part(cluster, _memory_mib)
        finally:
            cluster.down()
    cores = {part: (used - before[part]) / lasted_s for part, used in after.items()}
    results = {
        "command": f"python -m loadtest.idle --profile {profile} --seconds {seconds:g}",
        "date": date.today().isoformat(),
        "processor": machine.processor(),
        "cores": cores,
        "memory_mib": memory,
    }
    output.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    output.with_suffix(".md").write_text(_report(results))
    console.print(_report(results), markup=False)


def _by_part(cluster: LocalCluster, read: Callable[[psutil.Process], float]) -> dict[str, float]:
    """Sum what `read` says of each process of the cluster, by part."""
    found: dict[str, float] = defaultdict(float)
    for process in processes(cluster.running):
        with contextlib.suppress(psutil.NoSuchProcess):
            found[part_of(" ".join(process.cmdline()))] += read(process)
    return found


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _memory_mib(process: psutil.Process) -> float:
    return float(process.memory_full_info().pss) / _MIB


def _report(results: dict[str, Any]) -> str:
    cores, memory = results["cores"], results["memory_mib"]
    rows = [
        (part, f"{cores[part]:.4f}", f"{memory.get(part, 0):.0f}")
        for part in sorted(cores, key=lambda part: -cores[part])
    ]
    rows.append(("all", f"{sum(cores.values()):.3f}", f"{sum(memory.values()):.0f}"))
    head = "\n".join(f"- {name}: {results[name]}" for name in ("command", "date", "processor"))
    table = as_table(("process", "cores", "memory, MiB"), rows)
    return f"# A cluster that nobody calls\n\n{head}\n\n{table}\n"


if __name__ == "__main__":
    typer.run(idle)
