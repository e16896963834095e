"""What happens to a request before and after its route sees it: the key is checked, the plan lets
it in, the body is read; what was served is billed before it leaves."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from deployments.admission import Admission
from deployments.api.auth import authenticate
from deployments.api.body import BoundedRequest
from deployments.api.limits import limit_headers
from deployments.errors import InvalidRequest
from deployments.tenancy import KeyRing, Scope

Guard = Callable[[Scope], type[APIRoute]]


def guard(keys: KeyRing, admission: Admission) -> Guard:
    """The class of the routes that need one of `keys` with a scope.

    Not a dependency, because FastAPI reads the body before it asks those: a caller without a key
    would have us wait for megabytes.
    """

    def of(scope: Scope) -> type[APIRoute]:
        class GuardedRoute(APIRoute):
            needs = scope

            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                return _guarded(super().get_route_handler(), scope, keys, admission)

        return GuardedRoute

    return of


def _guarded(
    handle: Callable[[Request], Coroutine[Any, Any, Response]],
    scope: Scope,
    keys: KeyRing,
    admission: Admission,
) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def guarded(request: Request) -> Response:
        tenant = await authenticate(request, keys)
        tenant.require(scope)
        call = admission.call(tenant)
        request.state.call = call
        try:
            await call.enter()
            _require_each_once(request)
            bounded = BoundedRequest(request.scope, request.receive)
            # Read here, because FastAPI answers 400 to whatever goes wrong while it reads.
            await bounded.body()
            response = await handle(bounded)
            call.served()
        finally:
            call.leave()
        if call.limits:
            response.headers.update(limit_headers(call))
        return response

    return guarded


def _require_each_once(request: Request) -> None:
    """No query parameter here is a list, and of two values FastAPI would take the last unsaid."""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in seen:
            raise InvalidRequest(f"'{name}' is given more than once: give it once", param=name)
        seen.add(name)
