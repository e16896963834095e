"""The one place where errors become HTTP: status, headers, and a body in the route's dialect."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from deployments.errors import (
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
    Unauthorized,
    WinnowError,
)
from deployments.web.header_filter import WELL_FORMED_ID
from deployments.web.rate_limit_headers import limit_headers

logger = logging.getLogger(__name__)

RenderError = Callable[[WinnowError, str], dict[str, Any]]
_SHOWN_PROBLEMS = 3


def add_error_handlers(app: FastAPI, dialects: Sequence[tuple[str, RenderError]]) -> None:
    """`dialects` are (path prefix, body of an error); the first prefix that fits is used."""

    def respond(
        request: Request, error: WinnowError, more_headers: Mapping[str, str] | None = None
    ) -> Response:
        render = next(r for prefix, r in dialects if request.url.path.startswith(prefix))
        return Response(
            orjson.dumps(render(error, _request_id(request))),
            status_code=error.status,
            media_type="application/json",
            headers=_headers(error) | _limits(request) | dict(more_headers or {}),
        )

    async def on_ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, WinnowError)
        return respond(request, error)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return respond(request, invalid_request(error.errors()))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return respond(request, _from_http(request, error), error.headers)  # a 405's `allow`

    async def on_defect(request: Request, error: Exception) -> Response:
        logger.error("request failed", exc_info=error)
        return respond(request, InternalError("this request failed through a fault of ours"))

    app.add_exception_handler(WinnowError, on_ours)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_defect)


def invalid_request(problems: Sequence[Any]) -> InvalidRequest:
    """The first few problems pydantic found, as one sentence each."""
    parts = [_sentence(problem) for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        parts.append(f"and {len(problems) - _SHOWN_PROBLEMS} more problems")
    first = _field(problems[0]) if problems else None
    return InvalidRequest("; ".join(parts), param=first or None)


def _sentence(problem: Any) -> str:
    if problem["type"] == "json_invalid":
        return "the body is not valid JSON (UTF-8, no NaN, no lone surrogates)"
    field = _field(problem)
    if not field and problem["type"] in ("model_attributes_type", "missing"):
        return "send a JSON object with the header 'Content-Type: application/json'"
    if problem["type"] == "extra_forbidden":
        return f"'{field}' is not a field of this request: remove it"
    message = problem["msg"].removeprefix("Value error, ")
    return f"'{field}': {message}" if field else message


def _field(problem: Any) -> str:
    """`documents.3.text`, without the place (body, path) and the tags of a union."""
    steps = [str(step) for step in problem["loc"][1:] if not str(step).startswith("as ")]
    return ".".join(steps)


def _from_http(request: Request, error: HTTPException) -> WinnowError:
    if error.status_code == 404:
        return NotFound(f"there is no route {request.method} {request.url.path}")
    if error.status_code == 405:
        return MethodNotAllowed(f"{request.url.path} does not answer {request.method}")
    return InvalidRequest(error.detail)


def _request_id(request: Request) -> str:
    """What Serve answers as x-request-id: the caller's own or one it made."""
    given = request.headers.get("x-request-id", "")
    return given if WELL_FORMED_ID.fullmatch(given.encode()) else ""


def _limits(request: Request) -> dict[str, str]:
    call = getattr(request.state, "call", None)
    return limit_headers(call) if call else {}


def _headers(error: WinnowError) -> dict[str, str]:
    headers = {}
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, RequestTimeout):
        headers["connection"] = "close"  # else the rest of the body could go on arriving
    if error.retry_after_s is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after_s))
        headers["retry-after-ms"] = str(math.ceil(error.retry_after_s * 1000))
        headers["x-should-retry"] = "true"
    elif error.status < 500 and not isinstance(error, RequestTimeout):
        headers["x-should-retry"] = "false"  # OpenAI's SDK would try a 409 and any 429 again
    return headers
