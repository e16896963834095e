"""`winnow admin`: the admin API alone, on a port of its own."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cluster.commands.session import CommandError, open_console, open_state
from cluster.config import AppConfig
from cluster.profile import application, load_profile, localise
from deployments.tenants.plans import Plans

_ROUTER = "Router"


def admin(
    profile: Annotated[str, typer.Option(help="A profile's name, or a file.")] = "local",
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen at.")] = 8001,
) -> None:
    """Serve the admin API alone until Ctrl-C, from the database of tenants that PROFILE names."""
    # No other command needs a web application, and this one takes a second to load.
    import uvicorn

    from deployments.web.admin_app import build_admin_app

    state = open_state()
    app = application(localise(load_profile(profile), state, lambda model: model, None))
    config = AppConfig.model_validate(app["args"]).router
    if not Path(config.keys_file).is_file():
        raise CommandError(
            f"there is no file of keys {config.keys_file}: 'winnow up' makes that of a state"
            " directory, or name another as router.keys_file in the profile"
        )
    [router] = [one for one in app["deployments"] if one["name"] == _ROUTER]
    plans = Plans.model_validate(router.get("user_config") or {})
    open_console().print(f"admin API of profile {profile}: http://{host}:{port}/v1/admin")

    async def serve() -> None:
        listening = uvicorn.Config(
            await build_admin_app(config, plans),
            host=host,
            port=port,
            log_level="warning",
            server_header=False,
        )
        await uvicorn.Server(listening).serve()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:  # uvicorn has ended and raises it again
        return
