"""The caller, from the header `Authorization: Bearer KEY`, or Azure's `api-key: KEY`."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from deployments.errors import Unauthorized
from deployments.tenants.admission import Admitted
from deployments.tenants.api_keys import KeyRing, Scope, Tenant

bearer = HTTPBearer(auto_error=False, description="A Winnow API key")


async def authenticate(request: Request, keys: KeyRing) -> Tenant:
    """Return the tenant of the request's key; raises Unauthorized for a missing or unknown key."""
    headers = request.headers
    # What `bearer` would find, for a fraction of the time.
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = (token.strip() if scheme.lower() == "bearer" else "") or headers.get("api-key")
    if not key:
        raise Unauthorized("no API key: send the header 'Authorization: Bearer <key>'")
    return keys.tenant_of(key)


async def has_scope(request: Request, keys: KeyRing, scope: Scope) -> bool:
    """Return whether the request has a key with that scope."""
    try:
        return scope in (await authenticate(request, keys)).scopes
    except Unauthorized:
        return False


# A coroutine, because FastAPI runs plain functions in its thread pool.
async def call_of(request: Request) -> Admitted:
    """Return the admitted request, which a guarded route has left in its state."""
    call: Admitted = request.state.call
    return call


Caller = Annotated[Admitted, Depends(call_of)]
