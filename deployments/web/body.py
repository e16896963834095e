"""Request bodies: read up to a limit of size and time, parsed once by orjson.

orjson refuses what is not JSON but passes the standard library's parser: NaN, lone surrogates,
bytes that are not UTF-8.
"""

import asyncio
from typing import Any

import orjson
from fastapi import Request

from deployments.errors import PayloadTooLarge, RequestTimeout

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_DISCARDED_BYTES = 64 * 1024 * 1024
BODY_TIMEOUT_S = 30.0


class BoundedRequest(Request):
    """Raises PayloadTooLarge for a body over the limit, RequestTimeout for one that is slow.

    What exceeds the limit is read and discarded, up to a second limit: a client that is still
    sending when the connection closes does not see the answer.
    """

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            try:
                async with asyncio.timeout(BODY_TIMEOUT_S):
                    self._body = await self._read()
            except TimeoutError:
                raise RequestTimeout(
                    f"the body did not arrive within {BODY_TIMEOUT_S:g} s: send fewer or shorter"
                    " texts a request"
                ) from None
        return self._body

    async def _read(self) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in self.stream():
            size += len(chunk)
            if size > MAX_DISCARDED_BYTES:
                break
            if size > MAX_BODY_BYTES:
                chunks.clear()
            else:
                chunks.append(chunk)
        if size > MAX_BODY_BYTES:
            raise PayloadTooLarge(
                f"the body is larger than {MAX_BODY_BYTES} bytes: send fewer or shorter texts"
                " a request"
            )
        return b"".join(chunks)

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = orjson.loads(await self.body())
        return self._json
