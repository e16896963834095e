"""Document ids: those that may be stored or stand in a path, and those that may be stored already.

Clients and proxies remove `.` and `..` from a path even where the rest is percent-encoded, since a
dot has no encoding of its own (RFC 3986, 6.2.2): `DELETE /v1/collections/c/documents/..` leaves
httpx as `DELETE /v1/collections/c`. Such ids are refused; a body can still name one that was
stored before they were.
"""

import re
from typing import Annotated
from urllib.parse import unquote

from pydantic import AfterValidator, StringConstraints, WithJsonSchema

_MAX_CHARACTERS = 256
_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]{1,256}$"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SEPARATOR = re.compile(r"[/\\]")  # a browser's URL parser takes a backslash for a slash


def _addressable(id: str) -> str:
    if problem := _problem(id):
        raise ValueError(
            f"the id {id[:_MAX_CHARACTERS]!r} {problem}: choose another (a document that has such"
            " an id already is read and deleted by POST .../documents/get and .../documents/delete)"
        )
    return id


def _problem(id: str) -> str | None:
    if not 0 < len(id) <= _MAX_CHARACTERS:
        return f"has {len(id)} characters, not 1 to {_MAX_CHARACTERS}"
    if _CONTROL.search(id):
        return "holds a control character"
    if id != id.strip():
        return "begins or ends with a space, which clients cut off"
    if any(_is_dots(part) for part in _SEPARATOR.split(unquote(id))):
        return "has a '.' or '..' between slashes, which clients and proxies remove from a path"
    return None


def _is_dots(part: str) -> bool:
    # Some proxies cut off what follows a semicolon before they look for dots.
    return part.partition(";")[0].strip() in (".", "..")


DocumentId = Annotated[
    str,
    AfterValidator(_addressable),
    WithJsonSchema({"type": "string", "pattern": _PATTERN}),
]
StoredDocumentId = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,256}$")]
