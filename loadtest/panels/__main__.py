"""`python -m loadtest.panels`: one load test as those see it who operate the service.

Every panel of every dashboard as a plot of what a real Prometheus answers to its queries, pictures
of the page at /ui and the trace of the search on them, and what client, dashboards, traces and bill
say of the same run.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cluster.grafana.dashboards import DASHBOARDS
from loadtest.browser import chromium
from loadtest.command_line import winnow
from loadtest.panels.agreement import Evidence, agreement, billed_tokens
from loadtest.panels.page import take_pictures
from loadtest.panels.reading import read
from loadtest.panels.report import plot
from loadtest.panels.watched import LIMITED, Watched, watched_cluster
from loadtest.prometheus_server import find_program
from loadtest.run.scenario import Scenario, load_scenario
from loadtest.run.service import make_keys
from loadtest.traces.drawing import draw

_RESULTS = Path("loadtest/results")
_DOCUMENTS = 500  # of the demo's corpus, for the search on the page
# Of Ray's export, after which Prometheus has all of the load.
_EXPORT_S = 12.0


def panels(
    scenario: str = "steady",
    scale: Annotated[float, typer.Option(min=0.01)] = 1,
    output: Path = _RESULTS,
) -> None:
    """Run SCENARIO, its last tenant on a plan that is too small, and write OUTPUT/panels*."""
    program = find_program("prometheus")
    if program is None:
        raise typer.BadParameter("there is no prometheus: install Debian's package of this name")
    if chromium() is None:
        raise typer.BadParameter("there is no chromium: install Debian's package of this name")
    with tempfile.TemporaryDirectory(prefix="w-panels-", dir="/tmp") as directory:
        work = Path(directory)
        with watched_cluster(program, work) as watched:
            _show(watched, load_scenario(scenario).scaled(scale), scenario, scale, work, output)


def _show(
    watched: Watched, scenario: Scenario, name: str, scale: float, work: Path, output: Path
) -> None:
    state = watched.cluster.state
    winnow(state.directory, "demo", "--documents", str(_DOCUMENTS), quiet=True)
    keys = _keys(watched, scenario)
    began_s = time.time()
    load = _start(watched, keys, name, scale, work)
    try:
        time.sleep(scenario.warm_up_s + scenario.traffic.duration_s / 2)
        trace = take_pictures(watched.cluster.running.url, state.api_key(), output)
        if load.poll() is not None:
            raise RuntimeError("the load ended before the pictures were taken")
        load.wait()
    finally:
        load.terminate()
        load.wait()
    time.sleep(_EXPORT_S)
    for dashboard in DASHBOARDS:
        shown = read(dashboard, watched.prometheus, began_s, time.time())
        plot(output / f"panels-{dashboard.title.lower()}.png", dashboard, shown)
    seen = Evidence(
        tuple(keys),
        time.time() - began_s,
        json.loads((work / "load.json").read_text()),
        watched.prometheus,
        [span for span in watched.receiver.spans() if span.began_ns >= began_s * 1e9],
        _billed(watched, keys),
    )
    drawn = draw(watched.receiver.wait_for(trace, "POST /v1/search"))
    text = f"# One load test, seen from all sides\n\n{agreement(seen)}\n\n```text\n{drawn}\n```\n"
    (output / "panels.md").write_text(text)
    typer.echo(text)


def _keys(watched: Watched, scenario: Scenario) -> dict[str, str]:
    names = [tenant.name for tenant in scenario.traffic.tenants]
    plans = dict.fromkeys(names, "default") | {names[-1]: LIMITED}
    return make_keys(watched.cluster.client(), plans)


def _start(
    watched: Watched, keys: Mapping[str, str], name: str, scale: float, work: Path
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "loadtest.run", name, f"--scale={scale}"]
    options = [f"--url={watched.cluster.running.url}", f"--output={work / 'load'}"]
    # Not as options, which everyone on the machine could see; its form is a list with spaces.
    shown = " ".join(f"{tenant}={key}" for tenant, key in keys.items())
    return subprocess.Popen([*command, *options], env=os.environ | {"WINNOW_API_KEY": shown})


def _billed(watched: Watched, keys: Mapping[str, str]) -> int:
    client = watched.cluster.client()
    reports = [client.call("GET", f"/v1/usage?tenant={tenant}") for tenant in keys]
    return sum(billed_tokens(report["usage"]) for report in reports)


if __name__ == "__main__":
    typer.run(panels)
