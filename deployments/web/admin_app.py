"""The operator's routes alone, for a process of its own beside the Routers.

It shares nothing with them but the database of tenants and keys, so it may listen where clients
cannot reach, while the Routers have `admin: false`. Plans are those of the profile at its start: it
hears of no later change to them. Knows no stage and no Ray.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from deployments.config import RouterConfig
from deployments.tenants.admission import Admission
from deployments.tenants.plans import Plans
from deployments.tenants.rate_limits.local import MemoryLimiter
from deployments.tenants.store.database import sqlite_url
from deployments.tenants.tenant_store import TenantStore
from deployments.web.dialects import admin, openai
from deployments.web.error_handlers import add_error_handlers
from deployments.web.guarded_route import guard


@dataclass(frozen=True, slots=True)
class _Registered:
    control: TenantStore
    admission: Admission


async def build_admin_app(config: RouterConfig, plans: Plans) -> FastAPI:
    """The application, over the database that the Routers of this configuration have. `plans` are
    those that tenants may be put on, and limit the caller too, in this process alone."""
    url_file = config.control.database_url_file
    directory = Path(config.control.directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    control = await TenantStore.open(
        sqlite_url(directory / "control.db")  # where the Routers have it
        if url_file is None
        else Path(url_file).read_text().strip(),
        directory / "admin",  # the usage in the Routers' journals is theirs to store
        {},
        lambda *_: None,
        lambda: None,
        time.time,
    )
    await control.start(Path(config.keys_file))
    admission = Admission(MemoryLimiter(), lambda: 1, control.meter.record)
    admission.configure(plans)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with control.running():
            yield

    # No pages of its own: /docs of a Router shows these routes.
    app = FastAPI(
        lifespan=lifespan, redirect_slashes=False, openapi_url=None, strict_content_type=False
    )
    guarded = guard(control.keys, admission, time.monotonic)
    app.include_router(admin.tenant_routes(_Registered(control, admission), guarded))
    add_error_handlers(app, [("/", openai.render_error)])

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """This process is alive."""
        return {"status": "alive"}

    return app
