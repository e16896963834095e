"""A cluster with all that watches one: a real Prometheus, and a collector of its traces.

Knows how to start and stop them, and no load.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.grafana.rule_files import RULES
from cluster.profile import application, load_profile
from loadtest.local_cluster import LocalCluster
from loadtest.prometheus_server import PrometheusServer
from loadtest.traces.collector import running_collector
from loadtest.traces.receiver import Receiver

# What a limited tenant may have; the scenario `steady` asks for more than this of each.
LIMITED = "limited"
_PLANS = {"default": {"tokens_per_min": 1_000_000}, LIMITED: {"tokens_per_min": 15_000}}


@dataclass(frozen=True, slots=True)
class Watched:
    """A running cluster; `receiver` has its spans, `prometheus` its metrics."""

    cluster: LocalCluster
    prometheus: PrometheusServer
    receiver: Receiver


@contextmanager
def watched_cluster(program: str, directory: Path) -> Iterator[Watched]:
    """Start all of it for the block, with its files in `directory`; `program` is Prometheus."""
    with running_collector(directory) as collector:
        before = dict(os.environ)
        os.environ.update(collector.environment)
        cluster = LocalCluster(directory / "cluster", _profile())
        try:
            cluster.up()
            prometheus = _prometheus(program, directory, cluster)
            try:
                prometheus.wait_until_ready()
                yield Watched(cluster, prometheus, collector.receiver)
            finally:
                prometheus.stop()
        finally:
            cluster.down()
            for name in collector.environment:
                os.environ.pop(name)
            os.environ.update(before)


def _profile() -> dict[str, Any]:
    """The local profile, with the policy and the limits that its dashboards show."""
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
            one["user_config"] = {"plans": _PLANS}
    return profile


def _prometheus(program: str, directory: Path, cluster: LocalCluster) -> PrometheusServer:
    session = Path(cluster.running.session_directory)
    targets = session / "prom_metrics_service_discovery.json"
    return PrometheusServer(program, directory, targets, RULES)
