"""`winnow url`: the URL of the cluster here, for scripts."""

import typer

from cluster.commands.session import open_state, running_cluster


def url() -> None:
    """Print the URL of the cluster here."""
    typer.echo(running_cluster(open_state()).url)
