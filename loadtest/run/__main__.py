"""`python -m loadtest.run SCENARIO`: load-test a service, or a cluster started for the test.

Prints tables and writes OUTPUT.json and OUTPUT.svg. Exits 1 when an objective does not hold, 2 when
the test cannot run.
"""

import asyncio
import time
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cluster.client import ApiError
from cluster.profile import ProfileError
from loadtest.bench import machine
from loadtest.run import report
from loadtest.run.drive import RunRecord, Sample, Show, drive, warm_up
from loadtest.run.open_loop import OpenLoop
from loadtest.run.requests import Requests
from loadtest.run.scenario import Scenario, UnknownScenarioError, load_scenario, load_slo
from loadtest.run.service import Service, filled, local_service, served_models
from loadtest.run.slo import evaluate
from loadtest.traffic import Trace, generate, read_trace

_RESULTS = Path("loadtest/results")
_DEFAULT_PLAN = "default"


def run(
    name: Annotated[str, typer.Argument(metavar="SCENARIO", help="A name, or a file.")],
    url: Annotated[
        str | None, typer.Option(help="A running service; if not given, one is started.")
    ] = None,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            help="Its API key for all tenants, or TENANT=KEY for each.",
            envvar="WINNOW_API_KEY",
        ),
    ] = None,
    slo: Annotated[
        str | None, typer.Option(help="Other objectives than the scenario's; a name, or a file.")
    ] = None,
    scale: Annotated[float, typer.Option(help="Factor on the scenario's rate.", min=0.01)] = 1,
    trace: Annotated[
        Path | None, typer.Option(help="Requests from a file in the form of loadtest/traffic.py.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Path of the report, without suffix.")] = None,
) -> None:
    """Send the traffic of SCENARIO, and say whether the service met its objectives."""
    console = Console(width=140)
    try:
        scenario = load_scenario(name).scaled(scale)
        objectives = load_slo(slo or scenario.slo)
        sent = read_trace(trace) if trace else generate(scenario.traffic, scenario.seed)
        if not len(sent):
            raise typer.BadParameter("no request is sent")
        with _service(console, scenario, sent, url, api_key or []) as service:
            recorded = _measure(console, scenario, sent, service)
    except (ApiError, ProfileError, UnknownScenarioError, ValidationError) as error:
        Console(stderr=True, markup=False).print(str(error), style="red")
        raise typer.Exit(2) from None
    disturbed_s = None if trace else scenario.disturbed_s()
    checks = evaluate(objectives, recorded.results, disturbed_s)
    about = _about(name, scale, trace, scenario)
    document = report.document(about, recorded, checks, disturbed_s)
    _report(console, document, output or _RESULTS / f"load-{Path(name).stem}")
    if not document["passed"]:
        raise typer.Exit(1)


def _report(console: Console, document: dict[str, Any], path: Path) -> None:
    report.show(console, document)
    report.write(path.with_suffix(".json"), document)
    report.plot(path.with_suffix(".svg"), document)
    console.print(f"report: {path.with_suffix('.svg')}, {path.with_suffix('.json')}")


def _service(
    console: Console, scenario: Scenario, trace: Trace, url: str | None, api_keys: list[str]
) -> AbstractContextManager[Service]:
    if url is not None:
        if scenario.events:
            raise typer.BadParameter(
                "this scenario has faults, which need a cluster started for it: leave --url out"
            )
        return nullcontext(Service(url, _keys(trace.names, api_keys)))
    console.print(f"{scenario.about}\nstarting a cluster for it")
    plans = {name: scenario.plans.get(name, _DEFAULT_PLAN) for name in trace.names}
    return local_service(scenario.cluster.build(), plans)


def _keys(tenants: tuple[str, ...], given: list[str]) -> dict[str, str]:
    named = dict(one.split("=", 1) for one in given if "=" in one)
    shared = [one for one in given if "=" not in one]
    keys = dict.fromkeys(tenants, shared[0]) if shared else {}
    keys |= named
    if missing := set(tenants) - set(keys):
        names = ", ".join(sorted(missing))
        raise typer.BadParameter(f"give --api-key, or --api-key TENANT=KEY for {names}")
    return keys


def _measure(console: Console, scenario: Scenario, trace: Trace, service: Service) -> RunRecord:
    # A run's texts and collection differ from those of every run before.
    first = time.time_ns() // 1000
    requests = Requests(
        served_models(service.clients()[0]),
        first,
        collection=f"loadtest-{first}",
        on_timeout=scenario.on_timeout,
    )
    with filled(service, requests, trace, scenario.documents):
        console.print("warming up")
        asyncio.run(warm_up(service, requests, trace.until(scenario.warm_up_s)))
        columns = (
            TextColumn("{task.completed:3.0f} s"),
            BarColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, console=console) as progress:
            return asyncio.run(
                drive(service, requests, trace, scenario.events, _shown(progress, trace))
            )


def _shown(progress: Progress, trace: Trace) -> Show:
    bar = progress.add_task("", total=float(trace.at_s[-1]))

    def update(loop: OpenLoop, sample: Sample) -> None:
        ended = loop.outcomes
        recent = ended[-50:]
        latency_ms = 1000 * sum(one.latency_s for one in recent) / max(1, len(recent))
        failed = sum(one.failed for one in ended)
        replicas = " ".join(f"{name} {count}" for name, count in sample.replicas.items())
        said = f"sent {loop.sent}, under way {loop.sent - len(ended)}, failed {failed}"
        description = f"{said}, latency {latency_ms:.0f} ms  {replicas}"
        progress.update(bar, completed=sample.at_s, description=description)

    return update


def _about(name: str, scale: float, trace: Path | None, scenario: Scenario) -> dict[str, Any]:
    """Describe the run; the command line is made again, because the real one may hold keys."""
    traced = ["--trace", str(trace)] if trace else []
    return {
        "command": " ".join(["python -m loadtest.run", name, f"--scale {scale:g}", *traced]),
        "date": date.today().isoformat(),
        "processor": machine.processor(),
        "scenario": scenario.model_dump(mode="json", exclude_defaults=True),
    }


if __name__ == "__main__":
    typer.run(run)
