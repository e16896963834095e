"""`winnow tenants`: the tenants of the running service, and their plans. Needs an admin's key."""

import time
from typing import Annotated, Any

import typer
from rich.table import Table

from cluster.client import WinnowClient, path_part
from cluster.commands.session import ApiKey, Url, open_client, open_console

app = typer.Typer(help="Tenants of the running service.", no_args_is_help=True)

_PATH = "/v1/admin/tenants"


@app.command()
def create(
    id: str,
    plan: Annotated[str, typer.Option(help="A plan of the profile.")] = "default",
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Make the tenant ID; 'winnow keys create ID' makes its keys."""
    _say(open_client(url, api_key).call("POST", _PATH, {"id": id, "plan": plan}))


@app.command("list")
def list_all(url: Url = None, api_key: ApiKey = None) -> None:
    """Show all tenants."""
    table = Table("tenant", "plan", "created", "")
    for tenant in open_client(url, api_key).pages(_PATH, "tenants"):
        disabled = "disabled" if tenant["disabled"] else ""
        table.add_row(tenant["id"], tenant["plan"], date(tenant["created"]), disabled)
    open_console().print(table)


@app.command("plan")
def change_plan(id: str, plan: str, url: Url = None, api_key: ApiKey = None) -> None:
    """Put the tenant ID on PLAN."""
    _change(open_client(url, api_key), id, {"plan": plan})


@app.command()
def disable(id: str, url: Url = None, api_key: ApiKey = None) -> None:
    """Refuse every key of the tenant ID; its documents stay."""
    _change(open_client(url, api_key), id, {"disabled": True})


@app.command()
def enable(id: str, url: Url = None, api_key: ApiKey = None) -> None:
    """Accept the keys of the tenant ID again."""
    _change(open_client(url, api_key), id, {"disabled": False})


def date(seconds: int | None) -> str:
    """Format a Unix time in local time; empty for None."""
    if seconds is None:
        return ""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _change(client: WinnowClient, id: str, changes: dict[str, Any]) -> None:
    _say(client.call("PATCH", f"{_PATH}/{path_part(id)}", changes))


def _say(tenant: dict[str, Any]) -> None:
    disabled = ", disabled" if tenant["disabled"] else ""
    open_console().print(f"{tenant['id']}: plan {tenant['plan']}{disabled}")
