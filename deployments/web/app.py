"""The HTTP application: which routes there are, who may call them, how errors leave.

A plain function of the service, so that tests run it without Ray.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi_offline import FastAPIOffline

from deployments.web.auth import has_scope
from deployments.web.dialects import admin as operator
from deployments.web.dialects import cohere, jina, openai, usage, winnow
from deployments.web.error_handlers import add_error_handlers
from deployments.web.guarded_route import DOCUMENTED, guard
from deployments.web.observer import Observer
from deployments.web.openapi_errors import Responses, declare_no_422, error_responses
from deployments.web.schemas import Readiness
from deployments.web.service import Service
from deployments.web.ui_page import add_ui

_OF_SEVERAL_VENDORS = (
    "/v1/embeddings",
    "/v1/models",
    "/v1/rerank",
    "/embeddings",
    "/rerank",
    "/infinity/",
    "/openai/",
)


def build_http_app(service: Service, *, ui: bool = True, admin: bool = True) -> FastAPI:
    """`ui` and `admin`: whether the page at /ui and the routes under /v1/admin are served."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as at_the_end:
            if service.tracing is not None:
                at_the_end.push_async_callback(service.tracing.close)
            at_the_end.push_async_callback(service.request_log.close)
            await at_the_end.enter_async_context(service.control.running())
            yield

    # FastAPI with the scripts of /docs and /redoc in the package: a closed cluster has no others.
    app = FastAPIOffline(
        title="Winnow",
        version="0.1.0",
        description="Of these documents, which few matter to this query?",
        lifespan=lifespan,
        redirect_slashes=False,  # clients repeat a DELETE at the place they are sent to
        static_url="/docs/static",
        strict_content_type=False,  # some clients send JSON and do not say so
    )
    guarded = guard(service.control.keys, service.admission, service.clock)
    for vendor, body in ((openai, jina), (jina, jina), (cohere, cohere)):
        _include(app, vendor.routes(service, guarded), error_responses(body.ErrorBody))
    for dialect in (winnow, usage, *((operator,) if admin else ())):
        errors = error_responses(openai.ErrorBody, stores=dialect is not usage)
        _include(app, dialect.routes(service, guarded), errors)
    add_error_handlers(
        app,
        [
            *((path, jina.render_error) for path in _OF_SEVERAL_VENDORS),
            *((path, cohere.render_error) for path in ("/v1/embed", "/v2/")),
            ("/", openai.render_error),
        ],
    )
    _add_probes(app, service)
    if ui:
        add_ui(app)
    app.add_middleware(
        Observer,
        log=service.request_log,
        metrics=service.metrics,
        clock=service.clock,
        tracing=service.tracing,
    )
    declare_no_422(app)
    return app


def _include(app: FastAPI, router: APIRouter, errors: Responses) -> None:
    documented = [Depends(one) for one in DOCUMENTED]
    app.include_router(router, dependencies=documented, responses=errors)


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", tags=["probes"])
    async def healthz() -> dict[str, str]:
        """This process is alive."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["probes"], responses={503: {"model": Readiness}})
    async def readyz(request: Request, response: Response) -> Readiness:
        """Every stage has a replica that passed its golden check and answers now, or has scaled to
        zero. The stages are shown to keys with the scope `admin`."""
        readiness = await service.readiness()
        response.status_code = 200 if readiness.ready else 503
        if await has_scope(request, service.control.keys, "admin"):
            return readiness
        return Readiness(ready=readiness.ready)
