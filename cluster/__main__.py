"""The command line: `winnow`, or `python -m cluster`. Each verb has a module in `commands`.

Prints expected errors in a few lines and exits 1; others keep their traceback.
"""

import sys

import typer

from cluster.client import ApiError
from cluster.commands import (
    admin,
    demo,
    down,
    grafana,
    ingest,
    keys,
    models,
    plan,
    search,
    smoke,
    status,
    tenants,
    up,
    url,
)
from cluster.commands.session import CommandError, open_console
from cluster.fit_check import PlacementError
from cluster.grafana.errors import GrafanaError
from cluster.local.serve_api import DeployRefusedError, DeployUnansweredError
from cluster.models.errors import ModelError
from cluster.node_groups import SpecError
from cluster.profile import ProfileError

app = typer.Typer(
    help="Winnow: retrieve-then-rerank search as a cluster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(up.up)
app.command()(down.down)
app.command()(status.status)
app.command()(smoke.smoke)
app.command()(ingest.ingest)
app.command()(search.search)
app.command()(demo.demo)
app.command()(admin.admin)
app.command(name="plan")(plan.plan_command)
app.command()(url.url)
app.add_typer(models.app, name="models")
app.add_typer(tenants.app, name="tenants")
app.add_typer(keys.app, name="keys")
app.add_typer(grafana.app, name="grafana")


_EXPECTED = (
    ApiError,
    CommandError,
    DeployRefusedError,
    DeployUnansweredError,
    GrafanaError,
    ModelError,
    PlacementError,
    ProfileError,
    SpecError,
)


def main() -> None:
    try:
        app()
    except _EXPECTED as error:
        open_console(stderr=True).print(str(error), style="red")
        sys.exit(1)


if __name__ == "__main__":
    main()
