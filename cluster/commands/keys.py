"""`winnow keys`: tenants' API keys. A key is shown once, when it is made. Needs an admin's key."""

from typing import Annotated, Any

import typer
from rich.table import Table

from cluster.client import path_part
from cluster.commands.session import ApiKey, Url, open_client, open_console
from cluster.commands.tenants import date

app = typer.Typer(help="API keys of the running service.", no_args_is_help=True)

_PATH = "/v1/admin/keys"
_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S


@app.command()
def create(
    tenant: str,
    scope: Annotated[
        list[str] | None, typer.Option(help="read, write or admin; read and write if none.")
    ] = None,
    expires_in_days: Annotated[int | None, typer.Option(help="Never, if not given.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Make a key of TENANT and print it; it cannot be shown again."""
    body: dict[str, Any] = {"tenant": tenant}
    if scope:
        body["scopes"] = scope
    if expires_in_days is not None:
        body["expires_in_s"] = expires_in_days * _DAY_S
    typer.echo(open_client(url, api_key).call("POST", _PATH, body)["key"])


@app.command("list")
def list_all(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List keys by id; the keys themselves are not stored."""
    only = {"tenant": tenant} if tenant else {}
    table = Table("id", "ends in", "tenant", "scopes", "created", "expires", "revoked")
    for key in open_client(url, api_key).pages(_PATH, "keys", only):
        times = (date(key[name]) for name in ("created", "expires", "revoked"))
        table.add_row(key["id"], key["last4"], key["tenant"], " ".join(key["scopes"]), *times)
    open_console().print(table)


@app.command()
def rotate(
    id: str,
    overlap_hours: Annotated[int, typer.Option(help="How long the old key stays valid.")] = 24,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Replace the key ID by a new one and print that."""
    body = {"overlap_s": overlap_hours * _HOUR_S}
    client = open_client(url, api_key)
    typer.echo(client.call("POST", f"{_PATH}/{path_part(id)}/rotate", body)["key"])


@app.command()
def revoke(id: str, url: Url = None, api_key: ApiKey = None) -> None:
    """Refuse the key ID from now on, within seconds."""
    key = open_client(url, api_key).call("DELETE", f"{_PATH}/{path_part(id)}")
    open_console().print(f"{key['id']} of {key['tenant']}: revoked")
