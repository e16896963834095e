"""A client of Winnow's HTTP API for the command line and the load tests: a method for each route.

Knows no cluster: a URL and a key are all it needs.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import httpx

_TIMEOUT_S = 130.0


class ApiError(Exception):
    """The service refused a request, or did not answer (`status` None).

    The message is the service's own.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message, status)
        self.message = message
        self.status = status

    def __str__(self) -> str:
        return self.message


class WinnowClient:
    """Every method but `readiness` raises ApiError."""

    def __init__(self, url: str, api_key: str) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"authorization": f"Bearer {api_key}"},
            timeout=_TIMEOUT_S,
            transport=httpx.HTTPTransport(retries=3),
        )

    def readiness(self) -> dict[str, Any] | None:
        """Return the body of /readyz; None while the service does not answer."""
        try:
            response = self._http.get("/readyz", timeout=5)
            body: dict[str, Any] = response.json()
        except (httpx.TransportError, ValueError):
            return None
        return body if "stages" in body else None

    def replica_loads(self) -> dict[str, Any]:
        """Return what every replica has waiting and has done; needs an admin's key."""
        return self.call("GET", "/v1/admin/replicas")

    def create_collection(self, name: str) -> dict[str, Any]:
        return self.call("PUT", _collection(name))

    def delete_collection(self, name: str) -> None:
        self.call("DELETE", _collection(name), headers={"x-confirm-delete": name})

    def upsert(self, name: str, documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return self.call(
            "POST",
            f"{_collection(name)}/documents",
            {"documents": list(documents), "deadline_ms": 120_000},
        )

    def get_documents(self, name: str, ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """Return a document for each id; None for one that is not stored."""
        path = f"{_collection(name)}/documents/get"
        found: list[dict[str, Any] | None] = self.call("POST", path, {"ids": list(ids)})[
            "documents"
        ]
        return found

    def delete_where(self, name: str, where: dict[str, Any]) -> int:
        """Delete the documents that the filter `where` selects; return their number."""
        path = f"{_collection(name)}/documents/delete"
        return int(self.call("POST", path, {"filter": where})["deleted"])

    def search(self, name: str, query: str, top_k: int, top_n: int) -> dict[str, Any]:
        body = {"collection": name, "query": query, "top_k": top_k, "top_n": top_n}
        return self.call("POST", "/v1/search", body)

    def pages(
        self, path: str, field: str, params: dict[str, str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the entries of `field` of all pages of a list."""
        after: dict[str, str] = {}
        while True:
            page = self.call("GET", path, params=(params or {}) | after)
            yield from page[field]
            if page.get("after") is None:
                return
            after = {"after": page["after"]}

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send a request and return its JSON answer, empty for an empty body."""
        try:
            response = self._http.request(method, path, json=body, headers=headers, params=params)
        except httpx.TransportError as error:
            raise ApiError(f"no answer from {self._http.base_url}: {error}") from error
        if response.is_redirect:
            where = response.headers.get("location", "elsewhere")
            message = f"{response.url} redirects to {where}: give the URL of Winnow itself"
            raise ApiError(message, response.status_code)
        if response.is_error:
            message = f"{response.status_code} {_message(response)}"
            raise ApiError(message, response.status_code)
        return _json_object(response)


def path_part(name: str) -> str:
    """`name` as one part of a path. Raises ApiError for those that httpx would remove from it."""
    if name in ("", ".", ".."):
        raise ApiError(f"'{name}' is no name: take another")
    return quote(name, safe="")


def _collection(name: str) -> str:
    return f"/v1/collections/{path_part(name)}"


def _json_object(response: httpx.Response) -> dict[str, Any]:
    """Return the body, empty for an empty one. Raises ApiError for one that is no JSON object."""
    try:
        answer: Any = response.json() if response.content else {}
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ApiError(f"the answer of {response.url} is not Winnow's: check the URL")
    return answer


def _message(response: httpx.Response) -> str:
    try:
        body = response.json()
        return str(body["error"]["message"] if "error" in body else body["message"])
    except (ValueError, KeyError, TypeError):
        return response.text
