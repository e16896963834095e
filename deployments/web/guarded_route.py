"""The class of all routes that need a key.

Before the handler: the key, its scope, the path, the plan's limits, the query, the body; after it:
usage and rate-limit headers. The deadline of the query covers all of that; without one, the handler
has the default time. Knows no dialect."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from deployments.errors import InvalidRequest
from deployments.request.deadline import Clock, Deadline, within
from deployments.tenants.admission import Admission, Admitted
from deployments.tenants.api_keys import KeyRing, Scope
from deployments.web.auth import authenticate, bearer
from deployments.web.body import BoundedRequest, body_bytes
from deployments.web.exact_path import require_exact_path
from deployments.web.plain_handler import Handle, plain_handler
from deployments.web.rate_limit_headers import limit_headers
from deployments.web.schemas import MAX_DEADLINE_MS, DeadlineMs
from deployments.web.service import DEFAULT_DEADLINE_S

Guard = Callable[[Scope], type[APIRoute]]

_DEADLINE = "deadline_ms"
_DEADLINE_MS: TypeAdapter[int] = TypeAdapter(DeadlineMs)


async def deadline_query(deadline_ms: Annotated[DeadlineMs | None, Query()] = None) -> None:
    """Declare the query parameter of every route: how long the answer may take, in milliseconds
    from the arrival of the request."""


# Dependencies that every route declares for the OpenAPI document. A guarded route has looked at
# both before FastAPI would, at a cost to every request.
DOCUMENTED = (bearer, deadline_query)


def guard(keys: KeyRing, admission: Admission, clock: Clock) -> Guard:
    """Return a function from a scope to the class of the routes that need a key with that scope.

    Not a FastAPI dependency: those run after the body is read, so that a caller without a key
    could make the Router wait for megabytes.
    """

    def of(scope: Scope) -> type[APIRoute]:
        class GuardedRoute(APIRoute):
            needs = scope

            def get_route_handler(self) -> Handle:
                documented = self.dependant
                self.dependant = _without(DOCUMENTED, documented)
                handle = plain_handler(self.dependant, super().get_route_handler())
                self.dependant = documented
                if not _asks_in_body(documented):
                    handle = _in_default_time(handle, clock)
                template = self.path_format

                async def guarded(request: Request) -> Response:
                    tenant = await authenticate(request, keys)
                    call = request.state.call = admission.begin(tenant)
                    tenant.require(scope)
                    if scope != "read":
                        require_exact_path(request, template)
                    return await _answer(request, call, handle, clock)

                return guarded

        return GuardedRoute

    return of


def _asks_in_body(dependant: Dependant) -> bool:
    """True for a route whose body may say the deadline, which its handler keeps itself."""
    bodies = (one.field_info.annotation for one in dependant.body_params)
    return any(_DEADLINE in getattr(body, "model_fields", {}) for body in bodies)


def _in_default_time(handle: Handle, clock: Clock) -> Handle:
    """`handle`, which ends by the default deadline unless the query has said another. It counts
    from here, not from the request's arrival: the body has a time limit of its own."""

    async def limited(request: Request) -> Response:
        call: Admitted = request.state.call
        if call.deadline is not None:
            return await handle(request)
        call.deadline = Deadline.after(DEFAULT_DEADLINE_S, clock)
        return await within(call.deadline, handle(request))

    return limited


def _without(calls: Sequence[object], dependant: Dependant) -> Dependant:
    left = [one for one in dependant.dependencies if one.call not in calls]
    return replace(dependant, dependencies=left)


async def _answer(request: Request, call: Admitted, handle: Handle, clock: Clock) -> Response:
    came_s = clock()
    try:
        await call.enter(body_bytes(request))
        if request.scope["query_string"]:
            _require_each_once(request)
            _require_no_other_query(request)
            call.deadline = _asked(request, came_s, clock)
        answering = _read_and_handle(request, handle)
        response = await (within(call.deadline, answering) if call.deadline else answering)
        await call.know_limits()
        call.record_usage()  # last: what follows it neither waits nor fails
    except Exception:
        await call.know_limits()
        raise
    finally:
        call.leave()
    if call.limits:
        response.headers.update(limit_headers(call))
    return response


async def _read_and_handle(request: Request, handle: Handle) -> Response:
    bounded = BoundedRequest(request.scope, request.receive)
    # Read here: FastAPI would turn any error while it reads into a 400.
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
    """Raise InvalidRequest for a repeated parameter: none is a list, and FastAPI would silently
    take the last value."""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in seen:
            raise InvalidRequest(f"'{name}' is given more than once: give it once", param=name)
        seen.add(name)


def _require_no_other_query(request: Request) -> None:
    """Raise InvalidRequest for a deletion with a query parameter other than the deadline.

    It is the rest of an id whose '?' was not percent-encoded: the path names another document.
    """
    if request.method != "DELETE":
        return
    for name in request.query_params:
        if name != _DEADLINE:
            raise InvalidRequest(
                f"'{name}' is not a query parameter of this request: write a '?' inside an id as"
                " %3F",
                param=name,
            )
