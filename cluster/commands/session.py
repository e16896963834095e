"""What the verbs share: the terminal, the state of the cluster they speak to, and its clients."""

import os
from pathlib import Path

from rich.console import Console

from cluster.client import WinnowClient
from cluster.local.head import is_alive
from cluster.local.serve_api import ServeApi
from cluster.local.state import RunningCluster, State

_DEFAULT_STATE = ".winnow"
_STATE_VARIABLE = "WINNOW_STATE"


class CommandError(Exception):
    """A command cannot go on; the message says why and what to do."""


def open_console(*, stderr: bool = False) -> Console:
    """Titles and messages may hold square brackets: they are text here, never markup."""
    return Console(stderr=stderr, markup=False, highlight=False)


def open_state() -> State:
    """`.winnow` in the working directory, or what WINNOW_STATE names."""
    return State(Path(os.environ.get(_STATE_VARIABLE, _DEFAULT_STATE)))


def running_cluster(state: State) -> RunningCluster:
    cluster = state.running()
    if cluster is None or not is_alive(cluster):
        raise CommandError("no cluster is running here: start one with 'winnow up'")
    return cluster


def open_client(state: State) -> WinnowClient:
    return WinnowClient(running_cluster(state).url, state.api_key())


def open_serve(state: State, cluster: RunningCluster) -> ServeApi:
    return ServeApi(cluster.dashboard_port, state.ray_token())
