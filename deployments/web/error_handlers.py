"""The one place where errors become HTTP: status, headers, and a body in the route's dialect."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from deployments.errors import (
    Forbidden,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    RowFailed,
    Unauthorized,
    UnsupportedMedia,
    WinnowError,
)
from deployments.web.header_filter import WELL_FORMED_ID
from deployments.web.observer import CLIENT_CLOSED
from deployments.web.rate_limit_headers import limit_headers

logger = logging.getLogger(__name__)

RenderError = Callable[[WinnowError, str], dict[str, Any]]
_SHOWN_PROBLEMS = 3
_OF_FRAMEWORK = (Unauthorized, Forbidden, RequestTimeout, PayloadTooLarge, UnsupportedMedia)
_BY_STATUS: dict[int, type[WinnowError]] = {one.status: one for one in _OF_FRAMEWORK}


def add_error_handlers(app: FastAPI, dialects: Sequence[tuple[str, RenderError]]) -> None:
    """`dialects` are (path prefix, body of an error); the first prefix that fits is used."""

    def respond(
        request: Request, error: WinnowError, more_headers: Mapping[str, str] | None = None
    ) -> Response:
        request.state.error = error.code  # for the request log and the metrics
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
        return respond(request, invalid_request(error.errors(), error.body))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return respond(request, _from_http(request, error), error.headers)  # a 405's `allow`

    async def on_gone(_: Request, __: Exception) -> Response:
        return Response(status_code=CLIENT_CLOSED)

    async def on_defect(request: Request, error: Exception) -> Response:
        logger.error("request failed", exc_info=error)
        return respond(request, InternalError("this request failed through a fault of ours"))

    app.add_exception_handler(WinnowError, on_ours)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(ClientDisconnect, on_gone)
    app.add_exception_handler(Exception, on_defect)


def invalid_request(problems: Sequence[Any], body: Any = None) -> InvalidRequest:
    """The first few fields in which pydantic found problems, as one sentence each."""
    by_field: dict[str, list[Any]] = {}
    for problem in problems:
        by_field.setdefault(_field(problem, body), []).append(problem)
    parts = [_sentence(field, found) for field, found in by_field.items()]
    if len(parts) > _SHOWN_PROBLEMS:
        more = len(parts) - _SHOWN_PROBLEMS
        parts[_SHOWN_PROBLEMS:] = [f"and {more} more problem{'s' if more > 1 else ''}"]
    return InvalidRequest("; ".join(parts), param=next(iter(by_field), None) or None)


def _sentence(field: str, problems: Sequence[Any]) -> str:
    [first, *others] = problems
    if first["type"] == "json_invalid":
        return "the body is not valid JSON (UTF-8, no NaN, no lone surrogates)"
    if not field and first["type"] in ("model_attributes_type", "missing"):
        return "send a JSON object with the header 'Content-Type: application/json'"
    if first["type"] == "extra_forbidden":
        return f"'{field}' is not a field of this request: remove it"
    # Several of one field are those of the types that it may have.
    messages = [first["msg"].removeprefix("Value error, ")]
    messages += [other["msg"].removeprefix("Input should be a valid ") for other in others]
    message = ", or ".join(dict.fromkeys(messages))
    return f"'{field}': {message}" if field else message


def _field(problem: Any, body: Any) -> str:
    """`documents.3.text`: the steps of pydantic's place that are in what was sent, and the last
    where it is the one that is missing. The others are of our declarations: the place (body, path),
    the branches of a union, the functions that look at a value."""
    place, *steps = problem["loc"]
    if place != "body" or problem["type"] == "json_invalid":
        return "" if place == "body" else ".".join(map(str, steps))
    kept: list[str] = []
    current = body
    for position, step in enumerate(steps, 1):
        missing = position == len(steps) and problem["type"] == "missing"
        if not missing and not _holds(current, step):
            continue
        kept.append(str(step))
        current = None if missing else current[step]
    return ".".join(kept)


def _holds(value: Any, step: Any) -> bool:
    if isinstance(value, dict):
        return step in value
    return isinstance(value, list) and isinstance(step, int) and step < len(value)


def _from_http(request: Request, error: HTTPException) -> WinnowError:
    if isinstance(error.__cause__, WinnowError):  # FastAPI hides what went wrong in a body
        return error.__cause__
    if error.status_code == 404:
        return NotFound(
            f"there is no route {request.method} {request.url.path}: /docs shows those there are"
        )
    if error.status_code == 405:
        return MethodNotAllowed(f"{request.url.path} does not answer {request.method}")
    kind = _BY_STATUS.get(error.status_code)
    if kind is None:
        kind = InvalidRequest if error.status_code < 500 else InternalError
    return kind(error.detail)


def _request_id(request: Request) -> str:
    """The id that Serve answers as x-request-id: the caller's own or one it made."""
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
    elif _fails_again(error):
        headers["x-should-retry"] = "false"  # OpenAI's SDK would try a 409, any 429 and a 500 again
    return headers


def _fails_again(error: WinnowError) -> bool:
    if isinstance(error, RequestTimeout):
        return False
    return error.status < 500 or isinstance(error, RowFailed)
