"""Errors in the OpenAPI document: the statuses a route may answer, and their body.

Each dialect has a body of its own; the statuses come from the tree in `errors`.
"""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from deployments.errors import (
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InternalError,
    InvalidRequest,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    QuotaExceeded,
    RequestTimeout,
    StorageFull,
    Unauthorized,
    UnsupportedMedia,
    WinnowError,
)

_ANY_ROUTE: tuple[type[WinnowError], ...] = (
    InvalidRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    RequestTimeout,
    PayloadTooLarge,
    UnsupportedMedia,
    QuotaExceeded,
    InternalError,
    Overloaded,
    DeadlineExceeded,
)
_OF_STORED_STATE: tuple[type[WinnowError], ...] = (Conflict, StorageFull)

Responses = dict[int | str, dict[str, Any]]


def error_responses(body: type[BaseModel], *, stores: bool = False) -> Responses:
    """For routes whose errors have this body; `stores` for those that work on collections."""
    errors = _ANY_ROUTE + (_OF_STORED_STATE if stores else ())
    return {error.status: {"model": body} for error in errors}


def declare_no_422(app: FastAPI) -> None:
    """FastAPI declares a 422 for every route that reads anything; here such errors are a 400."""
    document = app.openapi()
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    for schema in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(schema, None)
