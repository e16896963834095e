"""`winnow grafana`: put dashboards and alerts in place in a Grafana, or show what would change.

The token is read from the environment or a file: on the command line other users would see it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.commands.session import CommandError, open_console

if TYPE_CHECKING:
    from cluster.grafana.changes import Change

app = typer.Typer(help="Dashboards and alerts in a Grafana.", no_args_is_help=True)

_TOKEN = "WINNOW_GRAFANA_TOKEN"

GrafanaUrl = Annotated[
    str,
    typer.Option("--url", envvar="WINNOW_GRAFANA_URL", help="Grafana's start page."),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        envvar="WINNOW_GRAFANA_TOKEN_FILE",
        help=f"A file with a service account's token; {_TOKEN} without one.",
    ),
]
PrometheusUrl = Annotated[
    str,
    typer.Option(
        "--prometheus", envvar="WINNOW_PROMETHEUS_URL", help="Prometheus, as Grafana reaches it."
    ),
]


@app.command()
def apply(url: GrafanaUrl, prometheus: PrometheusUrl, token_file: TokenFile = None) -> None:
    """Create or update folder, data source, dashboards and alert rules; what fits stays."""
    console = open_console()
    found = _changes(url, prometheus, token_file)
    for change in found:
        change.make()
        console.print(f"{change}: done")
    if not found:
        console.print("nothing to change")


@app.command()
def diff(url: GrafanaUrl, prometheus: PrometheusUrl, token_file: TokenFile = None) -> None:
    """Show what `apply` would change; exit 1 if anything."""
    console = open_console()
    found = _changes(url, prometheus, token_file)
    for change in found:
        console.print(str(change))
        for line in change.lines:
            console.print(line, soft_wrap=True)
    if found:
        raise typer.Exit(1)
    console.print("nothing to change")


def _changes(url: str, prometheus: str, token_file: Path | None) -> "list[Change]":
    # Late: no other command needs the libraries, which take a while to load.
    from cluster.grafana.changes import changes
    from cluster.grafana.server import GrafanaServer

    return changes(GrafanaServer(url, _token(token_file)), prometheus)


def _token(file: Path | None) -> str:
    token = os.environ.get(_TOKEN, "") if file is None else _read(file)
    if not token.strip():
        raise CommandError(f"no token for Grafana: set {_TOKEN}, or give --token-file")
    if not token.strip().isascii() or len(token.split()) > 1:
        raise CommandError("the token for Grafana has blanks or letters that no token has")
    return token.strip()


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        raise CommandError(f"the token file {file} cannot be read") from None
