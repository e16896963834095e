"""`winnow models`: fetch a profile's models before they are needed."""

import typer

from cluster.commands.session import open_console
from cluster.models.pull import default_cache, pull
from cluster.profile import load_profile, models

app = typer.Typer(help="Models of a profile.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Models of a profile."""


@app.command("pull")
def pull_profile(profile: str) -> None:
    """Fetch or make every model of PROFILE in the cache, checked by hash."""
    console = open_console()
    for name, revision in models(load_profile(profile)):
        console.print(f"{name}: {pull(name, default_cache(), console, revision)}")
