"""The simulator's command line: `python -m loadtest.simulate`.

Each verb writes its results to loadtest/results/, with the command that made them.
"""

import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from cluster.local.state import State
from loadtest.bench import machine
from loadtest.simulate import check as reality
from loadtest.simulate import choice as choices
from loadtest.simulate import compare as policies
from loadtest.simulate import measure as engines
from loadtest.simulate import report, scenarios

_RESULTS = Path("loadtest/results")

app = typer.Typer(help="Winnow in virtual time.", no_args_is_help=True)


@app.command()
def measure(
    profile: Annotated[str, typer.Option(help="A profile whose engines run here.")] = "local",
    output: Annotated[Path, typer.Option()] = _RESULTS / "service-times.json",
) -> None:
    """Time the engines of PROFILE on this machine and write the fitted service times."""
    console = Console()
    with tempfile.TemporaryDirectory() as directory:
        times = engines.measure(profile, State(Path(directory)), console)
    output.write_text(times.model_dump_json(indent=1) + "\n")
    console.print_json(output.read_text())


@app.command()
def check(
    seconds: Annotated[float, typer.Option(help="How long each load lasts.")] = 30,
    output: Annotated[Path, typer.Option()] = _RESULTS / "simulator-check.json",
) -> None:
    """Compare the simulator with a local cluster under the same load."""
    console = Console(width=120)
    times, compared = reality.check(seconds, (0.3, 0.6, 0.8))
    console.print(report.compared_table(compared))
    results = {"times": times.model_dump(), "compared": [asdict(one) for one in compared]}
    _write(output, results)


@app.command(name="scenarios")
def play(
    names: Annotated[list[str] | None, typer.Argument(help="All, if none is named.")] = None,
    output: Annotated[Path, typer.Option()] = _RESULTS / "scenarios.json",
) -> None:
    """Simulate fleets that no single machine can hold; also writes OUTPUT.png."""
    console = Console(width=150)
    chosen = names or list(scenarios.SCENARIOS)
    with ProcessPoolExecutor() as pool:
        played = list(pool.map(scenarios.play, chosen))
    titled = {scenarios.SCENARIOS[n].title: one for n, one in zip(chosen, played, strict=True)}
    console.print(report.outcome_table(titled, scenarios.CELLS))
    report.plot_outcomes(titled, output.with_suffix(".png"))
    results = {
        title: {
            "requests_of_the_cell": len(one.trace),
            "failed": one.failures(),
            "violations": one.violations(),
            "p50_s": one.percentile_s(50),
            "p99_s": one.percentile_s(99),
            "gpu_hours_of_the_fleet": scenarios.CELLS * one.total_gpu_hours(),
        }
        for title, one in titled.items()
    }
    _write(output, {"cells": scenarios.CELLS, "scenarios": results})


@app.command()
def compare(
    calls: Annotated[
        list[float] | None, typer.Option(help="Targets of Ray's and KEDA's rules, calls a replica.")
    ] = None,
    trace: Annotated[list[str] | None, typer.Option(help="All, if none is named.")] = None,
    seconds: Annotated[float, typer.Option(help="Of each trace, from its start.")] = 3000,
    output: Annotated[Path, typer.Option()] = _RESULTS / "policies.json",
) -> None:
    """Compare autoscaling policies on the reported traces; also writes OUTPUT.png."""
    console = Console(width=160)
    contenders = [*policies.ours(), *policies.others(calls or policies.CALLS_A_REPLICA)]
    jobs = [(one, name) for one in contenders for name in trace or policies.REPORTED]
    scored = _score_all(jobs, seconds)
    console.print(report.scored_table(scored))
    report.plot_scored(scored, output.with_suffix(".png"))
    _write(
        output, {"rules": policies.rules().model_dump(), "scored": [asdict(one) for one in scored]}
    )


@app.command()
def choice(
    seconds: Annotated[float, typer.Option(help="Of virtual time.")] = 300,
    output: Annotated[Path, typer.Option()] = _RESULTS / "replica-choice.json",
) -> None:
    """Compare the choice of a replica by calls, as Serve does it, with a choice by tokens."""
    chosen = list(choices.compare((0.5, 0.7, 0.85), seconds))
    Console(width=120).print(report.chosen_table(chosen))
    _write(output, {"chosen": [asdict(one) for one in chosen]})


def _score_all(
    jobs: Sequence[tuple[policies.Contender, str]], seconds: float
) -> list[policies.PolicyScore]:
    with ProcessPoolExecutor() as pool:
        found = [pool.submit(policies.score, one, True, name, seconds) for one, name in jobs]
        return [one.result() for one in track(found, "traces")]


def _write(output: Path, results: dict[str, Any]) -> None:
    made_by = {
        "command": shlex.join(["python", "-m", "loadtest.simulate", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "processor": machine.processor(),
    }
    output.write_text(json.dumps(made_by | results, indent=1) + "\n")


if __name__ == "__main__":
    app()
