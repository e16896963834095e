"""The handler of a route that takes a body and the caller and answers with a Response.

Does what FastAPI would, for half of what FastAPI's handler costs a request; whatever is not a valid
body it leaves to FastAPI's, so that errors are the same. Knows no dialect.
"""

import inspect
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel, ValidationError

from deployments.web.auth import call_of

Handle = Callable[[Request], Coroutine[Any, Any, Response]]

_JSON = frozenset({"application/json", "application/json; charset=utf-8"})


def plain_handler(dependant: Dependant, otherwise: Handle) -> Handle:
    """Return a handler for the route of `dependant`; `otherwise`, FastAPI's own, if the route takes
    more than a body and the caller, or answers with anything but a Response."""
    endpoint = dependant.call
    if endpoint is None:
        return otherwise
    signature = inspect.signature(endpoint)
    if not _is_plain(signature, dependant):
        return otherwise
    model = signature.parameters["body"].annotation
    assert issubclass(model, BaseModel)

    async def handle(request: Request) -> Response:
        if request.headers.get("content-type", "").lower() not in _JSON:
            return await otherwise(request)
        try:
            body = model.model_validate(await request.json())
        except (json.JSONDecodeError, ValidationError):
            return await otherwise(request)
        response: Response = await endpoint(body=body, caller=await call_of(request))
        return response

    return handle


def _is_plain(signature: inspect.Signature, dependant: Dependant) -> bool:
    return (
        set(signature.parameters) == {"body", "caller"}
        and signature.return_annotation is Response
        and [one.call for one in dependant.dependencies] == [call_of]
    )
