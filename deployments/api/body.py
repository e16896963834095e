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
MAX_DISCARDED_BYTES = 64 * 1024 * 1024


class BoundedRequest(Request):
    """Raises PayloadTooLarge for a body over the limit.

    What is over the limit is read and thrown away, up to a second limit: a client that is still
    sending would see a broken connection instead of the answer.
    """

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            chunks, size = [], 0
            async for chunk in self.stream():
                size += len(chunk)
                if size > MAX_DISCARDED_BYTES:
                    break
                if size <= MAX_BODY_BYTES:
                    chunks.append(chunk)
            if size > MAX_BODY_BYTES:
                raise PayloadTooLarge(
                    f"the body is larger than {MAX_BODY_BYTES} bytes: send fewer or shorter texts"
                    " a request"
                )
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
            checked = BoundedRequest(request.scope, request.receive)
            # Read here, because FastAPI answers 400 to whatever goes wrong while it reads.
            await checked.body()
            return await handle(checked)

        return bounded
