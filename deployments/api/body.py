"""Request bodies at the edge: read up to a limit, parsed once by orjson.

orjson refuses what JSON does not allow (NaN, lone surrogates, bytes that are not UTF-8), which the
standard parser lets through.
"""

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute

from deployments.errors import PayloadTooLarge

MAX_BODY_BYTES = 8 * 1024 * 1024


class BoundedRequest(Request):
    """Raises PayloadTooLarge as soon as the body is known to be over the limit."""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            announced = self.headers.get("content-length", "0")
            if announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
                raise _too_large()
            chunks, size = [], 0
            async for chunk in self.stream():
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    raise _too_large()
                chunks.append(chunk)
            self._body = b"".join(chunks)
        return self._body

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = orjson.loads(await self.body())
        return self._json


class BoundedRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            return await handle(BoundedRequest(request.scope, request.receive))

        return bounded


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the body is larger than {MAX_BODY_BYTES} bytes: send fewer or shorter texts a request"
    )
