"""`winnow status`: deployments, replicas, models and queues of the cluster here."""

from typing import Annotated, Any

import httpx
import typer
from rich.table import Table

from cluster.client import WinnowClient
from cluster.commands.problems import problems
from cluster.commands.session import (
    CommandError,
    open_console,
    open_serve,
    open_state,
    running_cluster,
)
from cluster.commands.watch import show_replicas
from cluster.profile import application, load_profile
from cluster.stages import STAGE_OF_DEPLOYMENT


def status(
    watch: Annotated[
        bool, typer.Option(help="Show every replica, again and again until Ctrl-C.")
    ] = False,
    every_s: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 2.0,
) -> None:
    """Show what runs here. Without --watch, queue figures are those of one replica a stage."""
    console = open_console()
    state = open_state()
    cluster = running_cluster(state)
    deployed_as = application(load_profile(cluster.profile))["name"]
    serve = open_serve(state, cluster)
    if watch:
        client = WinnowClient(cluster.url, state.api_key())
        show_replicas(console, serve, deployed_as, client, every_s)
        return
    try:
        deployed = serve.application(deployed_as)
    except httpx.HTTPError as error:
        raise CommandError(f"Ray's dashboard does not answer: see {state.head_log}") from error
    readiness = WinnowClient(cluster.url, state.api_key()).readiness() or {"stages": {}}
    console.print(f"{cluster.url}  profile {cluster.profile}  {deployed.status}")
    table = Table(box=None)
    for column in ("deployment", "status", "replicas", "model", "queued\nrows", "queued\ntokens"):
        table.add_column(column, no_wrap=column != "replicas")
    for one in deployed.deployments:
        replicas = ", ".join(f"{count} {kind.lower()}" for kind, count in one.replicas.items())
        stage = readiness["stages"].get(STAGE_OF_DEPLOYMENT.get(one.name, ""), {})
        table.add_row(
            one.name,
            one.status,
            f"{replicas or 'none'} of {one.wanted}",
            *(_text(stage, key) for key in ("model", "queued_rows", "queued_tokens")),
        )
    console.print(table)
    if cluster.failed_profile:
        console.print(f"it could not be brought to {cluster.failed_profile}:", style="red")
    for problem in problems(deployed, readiness):
        console.print(problem, style="red")


def _text(stage: dict[str, Any], key: str) -> str:
    value = stage.get(key)
    return "" if value is None else str(value)
