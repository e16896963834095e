"""What happens to a request before and after its route sees it: the key is checked, the plan lets
it in, the body is read, all in the time that its query allows; what was served is billed before it
leaves."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from deployments.errors import InvalidRequest
from deployments.request.deadline import Clock, Deadline, within
from deployments.tenants.admission import Admission, Admitted
from deployments.tenants.api_keys import KeyRing, Scope
from deployments.web.auth import authenticate
from deployments.web.body import BoundedRequest
from deployments.web.exact_path import require_exact_path
from deployments.web.rate_limit_headers import limit_headers
from deployments.web.schemas import MAX_DEADLINE_MS, DeadlineMs

Guard = Callable[[Scope], type[APIRoute]]
Handle = Callable[[Request], Coroutine[Any, Any, Response]]

_DEADLINE = "deadline_ms"
_DEADLINE_MS: TypeAdapter[int] = TypeAdapter(DeadlineMs)


async def deadline_query(deadline_ms: Annotated[DeadlineMs | None, Query()] = None) -> None:
    """Every route takes it: how long its answer may take from when the request came."""


def guard(keys: KeyRing, admission: Admission, clock: Clock) -> Guard:
    """The class of the routes that need one of `keys` with a scope.

    Not a dependency, because FastAPI reads the body before it asks those: a caller without a key
    would have us wait for megabytes.
    """

    def of(scope: Scope) -> type[APIRoute]:
        class GuardedRoute(APIRoute):
            needs = scope

            def get_route_handler(self) -> Handle:
                handle = super().get_route_handler()
                template = self.path_format

                async def guarded(request: Request) -> Response:
                    tenant = await authenticate(request, keys)
                    tenant.require(scope)
                    if request.method != "GET":
                        require_exact_path(request, template)
                    return await _answer(request, admission.call(tenant), handle, clock)

                return guarded

        return GuardedRoute

    return of


async def _answer(request: Request, call: Admitted, handle: Handle, clock: Clock) -> Response:
    request.state.call = call
    came_s = clock()
    try:
        await call.enter()
        _require_each_once(request)
        _require_no_stray_query(request)
        call.deadline = _asked(request, came_s, clock)
        answering = _read_and_handle(request, handle)
        response = await (within(call.deadline, answering) if call.deadline else answering)
        call.served()
    finally:
        call.leave()
    if call.limits:
        response.headers.update(limit_headers(call))
    return response


async def _read_and_handle(request: Request, handle: Handle) -> Response:
    bounded = BoundedRequest(request.scope, request.receive)
    # Read here, because FastAPI answers 400 to whatever goes wrong while it reads.
    await bounded.body()
    return await handle(bounded)


def _asked(request: Request, came_s: float, clock: Clock) -> Deadline | None:
    given = request.query_params.get(_DEADLINE)
    if given is None:
        return None
    try:
        timeout_ms = _DEADLINE_MS.validate_strings(given)
    except ValidationError:
        raise InvalidRequest(
            f"'{_DEADLINE}': must be a whole number of milliseconds from 1 to {MAX_DEADLINE_MS}",
            param=_DEADLINE,
        ) from None
    return Deadline(came_s + timeout_ms / 1000, clock)


def _require_each_once(request: Request) -> None:
    """No query parameter here is a list, and of two values FastAPI would take the last unsaid."""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in seen:
            raise InvalidRequest(f"'{name}' is given more than once: give it once", param=name)
        seen.add(name)


def _require_no_stray_query(request: Request) -> None:
    """A deletion has one query parameter. Any other is the rest of an id with a '?' in it, written
    as it is: the path would name another document."""
    if request.method != "DELETE":
        return
    for name in request.query_params:
        if name != _DEADLINE:
            raise InvalidRequest(
                f"'{name}' is not a query parameter of this request: write a '?' inside an id as"
                " %3F",
                param=name,
            )
