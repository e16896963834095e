"""`winnow up`: start a cluster here, or bring the running one to another profile, and wait."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.status import Status

from cluster.client import WinnowClient
from cluster.commands.session import CommandError, open_console, open_serve, open_state
from cluster.local.head import is_alive, start_head, stop
from cluster.local.ports import is_free
from cluster.local.serve_api import ServeApi
from cluster.local.state import RunningCluster, State
from cluster.models.pull import default_cache, resolve
from cluster.node_groups import ClusterSpec, load_cluster_spec
from cluster.profile import application, load_profile, localise

_POLL_S = 0.5


def up(
    profile: Annotated[str, typer.Option(help="A profile's name, or a file.")] = "local",
    port: Annotated[int | None, typer.Option(help="HTTP port; the profile's if not given.")] = None,
    nodes: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Let nodes of these groups come and go (k8s/cluster.yaml).",
        ),
    ] = None,
    timeout_s: Annotated[float, typer.Option(help="How long to wait until ready.")] = 600,
    redis: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of a Redis that keeps Ray's state."),
    ] = None,
) -> None:
    """Start the cluster here and wait until every stage is ready."""
    console = open_console()
    state = open_state()
    state.prepare()
    config = load_profile(profile)
    cache = default_cache()
    local = localise(config, state, lambda name: resolve(name, cache, console), port)
    spec = load_cluster_spec(nodes) if nodes else None
    began = time.monotonic()
    with console.status("starting Ray") as spinner:
        cluster = _running_or_new(state, profile, local, port, spec, redis)
        serve = open_serve(state, cluster)
        deadline = began + timeout_s
        _wait_for_ray(serve, cluster, deadline, state)
        serve.deploy(local)
        name = application(local)["name"]
        client = WinnowClient(cluster.url, state.api_key())
        _wait_until_ready(serve, name, client, spinner, deadline)
    # A roll that fails leaves the profile before it serving, and recorded.
    state.record(cluster.model_copy(update={"profile": profile}))
    console.print(f"ready in {time.monotonic() - began:.0f} s: {cluster.url}")


def _running_or_new(
    state: State,
    profile: str,
    local: dict[str, Any],
    port: int | None,
    nodes: ClusterSpec | None,
    redis: str | None,
) -> RunningCluster:
    http_port = local["http_options"]["port"]
    cluster = state.running()
    if cluster is not None and is_alive(cluster):
        # Serve fixes its HTTP port when it starts.
        if port not in (None, cluster.http_port):
            raise CommandError(
                f"a cluster is running here on port {cluster.http_port}:"
                " 'winnow down' stops it, to be started on another"
            )
        if nodes or redis:
            option = "--nodes" if nodes else "--redis"
            raise CommandError(
                f"a cluster is running here: 'winnow down' stops it, to be started with {option}"
            )
        local["http_options"]["port"] = cluster.http_port
        return cluster
    if cluster is not None:
        stop(cluster)  # processes that a killed head left behind
    if not is_free(http_port):
        raise CommandError(
            f"port {http_port} is taken: stop what listens there, or choose another with --port"
        )
    return start_head(state, profile, http_port, nodes, redis)


def _wait_for_ray(serve: ServeApi, cluster: RunningCluster, deadline: float, state: State) -> None:
    while not serve.is_up():
        if not is_alive(cluster):
            raise CommandError(f"Ray did not start: see {state.head_log}")
        _pause(deadline, "Ray's dashboard")


def _wait_until_ready(
    serve: ServeApi, name: str, client: WinnowClient, spinner: Status, deadline: float
) -> None:
    while True:
        deployed = serve.application(name)
        if deployed.status == "DEPLOY_FAILED":
            problems = "\n".join(deployed.problems())
            raise CommandError(f"the deployment failed: {problems}")
        waiting = [d.name for d in deployed.deployments if d.status != "HEALTHY"]
        if deployed.status == "RUNNING" and not waiting:
            readiness = client.readiness()
            if readiness and readiness["ready"]:
                return
            waiting = _unready(readiness)
        spinner.update(f"waiting for {', '.join(waiting) or 'Serve'}")
        _pause(deadline, ", ".join(waiting) or "Serve")


def _unready(readiness: dict[str, Any] | None) -> list[str]:
    if readiness is None:
        return ["HTTP"]
    return [name for name, stage in readiness["stages"].items() if not stage["ready"]]


def _pause(deadline: float, waiting: str) -> None:
    if time.monotonic() > deadline:
        raise CommandError(f"gave up waiting for {waiting}; 'winnow status' shows more")
    time.sleep(_POLL_S)
