"""`winnow tenants`: who may use the running cluster, and on which plan."""

import time
from typing import Annotated, Any

import typer
from rich.table import Table

from cluster.client import path_part
from cluster.commands.session import open_client, open_console, open_state

app = typer.Typer(help="Tenants of the running cluster.", no_args_is_help=True)

_PATH = "/v1/admin/tenants"


@app.command()
def create(
    id: str, plan: Annotated[str, typer.Option(help="A plan of the profile.")] = "default"
) -> None:
    """Make the tenant ID; 'winnow keys create ID' makes its keys."""
    _say(open_client(open_state()).call("POST", _PATH, {"id": id, "plan": plan}))


@app.command("list")
def list_all() -> None:
    """Show all tenants."""
    table = Table("tenant", "plan", "created", "")
    for tenant in open_client(open_state()).call("GET", _PATH)["tenants"]:
        disabled = "disabled" if tenant["disabled"] else ""
        table.add_row(tenant["id"], tenant["plan"], date(tenant["created"]), disabled)
    open_console().print(table)


@app.command("plan")
def change_plan(id: str, plan: str) -> None:
    """Put the tenant ID on PLAN."""
    _change(id, {"plan": plan})


@app.command()
def disable(id: str) -> None:
    """Let no key of the tenant ID open anything; its documents stay."""
    _change(id, {"disabled": True})


@app.command()
def enable(id: str) -> None:
    """Let its keys open again."""
    _change(id, {"disabled": False})


def date(seconds: int | None) -> str:
    """Local time; empty for none."""
    if seconds is None:
        return ""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _change(id: str, changes: dict[str, Any]) -> None:
    _say(open_client(open_state()).call("PATCH", f"{_PATH}/{path_part(id)}", changes))


def _say(tenant: dict[str, Any]) -> None:
    disabled = ", disabled" if tenant["disabled"] else ""
    open_console().print(f"{tenant['id']}: plan {tenant['plan']}{disabled}")
