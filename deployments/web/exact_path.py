"""A check that a path was sent as its route is written, before anything was decoded.

Starlette matches the decoded path, in which `%2F` is a slash like any other:
`DELETE /v1/collections/c%2Fdocuments%2Fa`, which names a collection "c/documents/a", would delete
a document of c.
"""

from urllib.parse import unquote_to_bytes

from fastapi import Request

from deployments.errors import InvalidRequest


def require_exact_path(request: Request, template: str) -> None:
    """Raises InvalidRequest unless the raw path has the slashes of `template`, its words to the
    byte, and nothing but the parameters' percent-encoded values in between.

    A parameter at the end may hold slashes, but neither doubled nor at an end unless encoded:
    proxies merge and drop those.
    """
    root = request.scope.get("root_path", "").encode()
    raw: bytes = request.scope["raw_path"].removeprefix(root)
    words = template.split("/")
    parts = raw.split(b"/", maxsplit=len(words) - 1)
    if len(parts) != len(words) or not all(
        _is_exact(part, word, request) for part, word in zip(parts, words, strict=True)
    ):
        raise InvalidRequest(
            f"the path {raw.decode('ascii', 'replace')} is not written as its route {template}:"
            " write each '/' of the route as it is, '/' inside a name or at an end of an id as"
            " %2F, and other bytes as UTF-8"
        )


def _is_exact(part: bytes, word: str, request: Request) -> bool:
    if not word.startswith("{"):
        return part == word.encode()
    value: str = request.path_params[word.strip("{}")]
    return unquote_to_bytes(part) == value.encode() and b"//" not in b"/%b/" % part
