"""`winnow status --watch`: every replica of every stage, again and again until Ctrl-C."""

import time

import httpx
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from cluster.client import ApiError, WinnowClient
from cluster.commands.replica_table import ReplicaFigures, replica_table
from cluster.local.serve_api import ServeApi


def show_replicas(
    console: Console, serve: ServeApi, name: str, client: WinnowClient, every_s: float
) -> None:
    """Show the application's replicas over the whole terminal, or one look after another where
    there is none."""
    figures = ReplicaFigures(time.monotonic)
    try:
        if not console.is_terminal:
            while True:
                console.print(_look(serve, name, client, figures))
                time.sleep(every_s)
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(_look(serve, name, client, figures), refresh=True)
                time.sleep(every_s)
    except KeyboardInterrupt:
        return


def _look(
    serve: ServeApi, name: str, client: WinnowClient, figures: ReplicaFigures
) -> RenderableType:
    now = time.strftime("%H:%M:%S")
    try:
        deployed = serve.application(name)
    except httpx.HTTPError as error:
        return Text(f"{now}  Serve does not answer: {error}", style="red")
    try:
        figures.take(client.replica_loads())
        said = []
    except ApiError as error:
        figures.forget()
        said = [f"no figures: {error}"]
    silent = [f"no answer from a replica of {stage} in time" for stage in figures.silent]
    problems = [Text(one, style="red") for one in (*deployed.problems(), *silent, *said)]
    head = Text(f"{now}  {name}  {deployed.status}  (Ctrl-C ends)")
    return Group(head, replica_table(deployed, figures), *problems)
