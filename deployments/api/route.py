"""What happens to a request before its route sees it: the key is checked, then the body is read."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from deployments.api.auth import authenticate
from deployments.api.body import BoundedRequest
from deployments.tenancy import KeyRing


def guarded_route(keys: KeyRing) -> type[APIRoute]:
    """The class of the routes that need one of `keys`.

    Not a dependency, because FastAPI reads the body before it asks those: a caller without a key
    would have us wait for megabytes.
    """

    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                await authenticate(request, keys)
                bounded = BoundedRequest(request.scope, request.receive)
                # Read here, because FastAPI answers 400 to whatever goes wrong while it reads.
                await bounded.body()
                return await handle(bounded)

            return guarded

    return GuardedRoute
