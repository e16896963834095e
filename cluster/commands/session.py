"""Shared by the verbs: the terminal, the state directory, clients of the service and of Serve."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cluster.client import WinnowClient
from cluster.local.head import is_alive
from cluster.local.serve_api import ServeApi
from cluster.local.state import RunningCluster, State

Url = Annotated[
    str | None,
    typer.Option(envvar="WINNOW_URL", help="A running service; the cluster here if not given."),
]
_KEY_VARIABLE = "WINNOW_API_KEY"


def _read_key(file: str | None) -> str | None:
    """Return the key in the file, or else that of the environment.

    A key is no option itself: everyone on the machine sees a process's arguments.
    """
    if file is None:
        return os.environ.get(_KEY_VARIABLE) or None
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise CommandError(f"the API key cannot be read: {error}") from error


ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key-file",
        metavar="PATH",
        callback=_read_key,
        help=f"Holds its API key; else {_KEY_VARIABLE}, or the first tenant's here.",
    ),
]

_DEFAULT_STATE = ".winnow"
_STATE_VARIABLE = "WINNOW_STATE"


class CommandError(Exception):
    """A command cannot go on; the message says why and what to do."""


def open_console(*, stderr: bool = False) -> Console:
    """Open a console that prints square brackets as they are, never as markup."""
    return Console(stderr=stderr, markup=False, highlight=False)


def open_state() -> State:
    """Open the state in WINNOW_STATE, or in `.winnow` of the working directory."""
    return State(Path(os.environ.get(_STATE_VARIABLE, _DEFAULT_STATE)))


def running_cluster(state: State) -> RunningCluster:
    """Return the cluster of this state. Raises CommandError if none is running."""
    cluster = state.running()
    if cluster is None or not is_alive(cluster):
        raise CommandError("no cluster is running here: start one with 'winnow up'")
    return cluster


def open_client(url: str | None = None, api_key: str | None = None) -> WinnowClient:
    """Open a client for the service at `url`, or for the cluster here.

    Raises CommandError if no cluster is running here, or for a URL without a key.
    """
    if url is None:
        state = open_state()
        return WinnowClient(running_cluster(state).url, api_key or state.api_key())
    if api_key is None:
        raise CommandError(f"no API key for {url}: give --api-key-file, or set {_KEY_VARIABLE}")
    return WinnowClient(url, api_key)


def open_serve(state: State, cluster: RunningCluster) -> ServeApi:
    return ServeApi(cluster.dashboard_port, state.ray_token())
