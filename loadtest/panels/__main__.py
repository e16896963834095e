"""`python -m loadtest.panels`: every panel of every dashboard over one load test, as plots.

Starts a cluster and a real Prometheus, runs the scenario `steady`, and asks Prometheus for what a
Grafana would show.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from cluster.grafana.dashboards import DASHBOARDS
from cluster.grafana.rule_files import RULES
from cluster.profile import application, load_profile
from loadtest.local_cluster import LocalCluster
from loadtest.panels.reading import read
from loadtest.panels.report import plot
from loadtest.prometheus_server import PrometheusServer, find_program

_RESULTS = Path("loadtest/results")
# Of Ray's export, after which Prometheus has all of the load.
_EXPORT_S = 12.0


def panels(
    scenario: str = "steady",
    scale: Annotated[float, typer.Option(min=0.01)] = 1,
    output: Path = _RESULTS,
) -> None:
    """Run SCENARIO and write OUTPUT/panels-*.svg."""
    program = find_program("prometheus")
    if program is None:
        raise typer.BadParameter("there is no prometheus: install Debian's package of this name")
    with tempfile.TemporaryDirectory(prefix="winnow-panels-") as directory:
        cluster = LocalCluster(Path(directory) / "cluster", _profile())
        try:
            cluster.up()
            server = _prometheus(program, Path(directory), cluster)
            try:
                began_s = time.time()
                _load(cluster, scenario, scale, Path(directory))
                time.sleep(_EXPORT_S)
                for dashboard in DASHBOARDS:
                    shown = read(dashboard, server, began_s, time.time())
                    plot(output / f"panels-{dashboard.title.lower()}.svg", dashboard, shown)
            finally:
                server.stop()
        finally:
            cluster.down()


def _profile() -> dict[str, Any]:
    """The local profile, with the policy and a limit that its dashboards show."""
    profile = load_profile("local")
    app = application(profile)
    rules = {"replica_tokens_per_s": 3_000}
    stages = {"Embedder": {"stage": "embed"} | rules, "Reranker": {"stage": "rerank"} | rules}
    app["autoscaling_policy"] = {
        "policy_function": "deployments.autoscaling.serve_policy:TokenScaling",
        "policy_kwargs": {"stages": stages},
    }
    for one in app["deployments"]:
        if one["name"] in {"Router", *stages}:  # Serve asks others for no signals
            del one["num_replicas"]
            one["autoscaling_config"] = {"min_replicas": 1, "max_replicas": 1}  # of two cores
        if one["name"] == "Router":
            one["user_config"] = {"plans": {"default": {"tokens_per_min": 1_000_000}}}
    return profile


def _prometheus(program: str, directory: Path, cluster: LocalCluster) -> PrometheusServer:
    session = Path(cluster.running.session_directory)
    targets = session / "prom_metrics_service_discovery.json"
    server = PrometheusServer(program, directory, targets, RULES)
    server.wait_until_ready()
    return server


def _load(cluster: LocalCluster, scenario: str, scale: float, directory: Path) -> None:
    command = [sys.executable, "-m", "loadtest.run", scenario, f"--scale={scale}"]
    options = [f"--url={cluster.running.url}", f"--output={directory / 'load'}"]
    environment = os.environ | {"WINNOW_API_KEY": cluster.state.api_key()}
    # Whether it met its objectives is not asked here.
    subprocess.run([*command, *options], env=environment, check=False)


if __name__ == "__main__":
    typer.run(panels)
