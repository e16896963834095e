"""The HTTP application: which routes there are, who may call them, how errors leave.

A plain function of the service, so that tests run it without Ray.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI, Response

from deployments.api.auth import bearer
from deployments.api.declared import Responses, declare_no_422, error_responses
from deployments.api.failures import add_error_handlers
from deployments.api.route import deadline_query, guard
from deployments.dialects import admin, cohere, native, openai, rerank_v1, usage
from deployments.schemas import Readiness
from deployments.service import Service


def build_http_app(service: Service) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.control.running():
            yield

    app = FastAPI(
        title="Winnow",
        version="0.1.0",
        description="Of these documents, which few matter to this query?",
        lifespan=lifespan,
    )
    guarded = guard(service.control.keys, service.admission, service.clock)
    for dialect in (openai, rerank_v1, cohere):
        _include(app, dialect.routes(service, guarded), error_responses(dialect.ErrorBody))
    for dialect in (native, usage, admin):
        errors = error_responses(openai.ErrorBody, stores=dialect is not usage)
        _include(app, dialect.routes(service, guarded), errors)
    add_error_handlers(
        app,
        [
            ("/v2/", cohere.render_error),
            ("/v1/rerank", rerank_v1.render_error),
            ("/", openai.render_error),
        ],
    )
    _add_probes(app, service)
    declare_no_422(app)
    return app


def _include(app: FastAPI, router: APIRouter, errors: Responses) -> None:
    # The dependencies are for the documentation: by then the route has looked at both.
    both = [Depends(bearer), Depends(deadline_query)]
    app.include_router(router, dependencies=both, responses=errors)


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", tags=["probes"])
    async def healthz() -> dict[str, str]:
        """This process is alive."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["probes"], responses={503: {"model": Readiness}})
    async def readyz(response: Response) -> Readiness:
        """Every stage has a replica that passed its golden check and answers now."""
        readiness = await service.readiness()
        response.status_code = 200 if readiness.ready else 503
        return readiness
