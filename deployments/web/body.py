"""Request bodies: read up to a limit of size and time, parsed once by orjson.

orjson refuses what is not JSON but passes the standard library's parser: NaN, lone surrogates,
bytes that are not UTF-8.
"""

import asyncio
import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

import orjson
from fastapi import Request

from deployments.errors import InvalidRequest, PayloadTooLarge, RequestTimeout, UnsupportedMedia

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_DISCARDED_BYTES = 64 * 1024 * 1024
BODY_TIMEOUT_S = 30.0

_OF_SURROGATES = "surrogate in string"
_SURROGATE = re.compile("[\ud800-\udfff]")


class BoundedRequest(Request):
    """Raises PayloadTooLarge for a body over the limit, RequestTimeout for one that is slow,
    UnsupportedMedia for one that is compressed.

    What exceeds the limit is read and discarded, up to a second limit: a client that is still
    sending when the connection closes does not see the answer.
    """

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            _require_plain(self)
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
        """Raises JSONDecodeError, or InvalidRequest where it is known which field is at fault."""
        if not hasattr(self, "_json"):
            body = (await self.body()).removeprefix(codecs.BOM_UTF8)
            try:
                self._json = orjson.loads(body)
            except orjson.JSONDecodeError as error:
                if _OF_SURROGATES in error.msg:
                    _name_lone_surrogate(body)
                raise
        return self._json


def body_bytes(request: Request) -> int:
    """Return how many bytes the body may have, before it is read: as its length says, or as many as
    any may have."""
    length = request.headers.get("content-length")
    if length is None:
        return MAX_BODY_BYTES if "transfer-encoding" in request.headers else 0
    return int(length) if length.isdecimal() and len(length) < 8 else MAX_BODY_BYTES


def _require_plain(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMedia(
            f"the body has the content-encoding '{encoding[:32]}', which is not read here: send it"
            " as it is, without compression"
        )


def _name_lone_surrogate(body: bytes) -> None:
    """Raises InvalidRequest with the field whose text holds half of a surrogate pair, as JavaScript
    leaves it where a text is cut within an emoji; orjson says only at which byte."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return
    field = _field_with_surrogate(parsed)
    if field is not None:
        raise InvalidRequest(
            f"'{field}' holds a lone surrogate, half of a character that was cut in two: remove"
            " it, or put U+FFFD in its place",
            param=field,
        )


def _field_with_surrogate(parsed: Any) -> str | None:
    """The path to the first text with half of a pair, dots between the steps; a key is a text too.

    Takes as long as there are items, however deep they lie: a body may have a million of them at a
    depth of a thousand.
    """
    path: list[object] = []
    levels: list[Iterator[tuple[object, Any]]] = [iter([("", parsed)])]
    while levels:
        for step, value in levels[-1]:
            if _has_surrogate(step) or _has_surrogate(value):
                below = [*path, step][1:]  # the first step leads to the whole
                return ".".join(_SURROGATE.sub("?", str(one)) for one in below)
            if value and isinstance(value, list | dict):
                path.append(step)
                levels.append(iter(value.items() if isinstance(value, dict) else enumerate(value)))
                break
        else:
            levels.pop()
            del path[-1:]
    return None


def _has_surrogate(value: object) -> bool:
    return isinstance(value, str) and _SURROGATE.search(value) is not None
