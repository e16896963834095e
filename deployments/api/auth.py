"""The tenant of a request, from its `Authorization: Bearer KEY` header."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from deployments.errors import Unauthorized
from deployments.tenancy import KeyRing, Tenant

bearer = HTTPBearer(auto_error=False, description="A Winnow API key")


async def authenticate(request: Request, keys: KeyRing) -> None:
    """Note whose request it is, for `Caller`; raises Unauthorized for want of a known key."""
    credentials = await bearer(request)
    if credentials is None:
        raise Unauthorized("no API key: send the header 'Authorization: Bearer <key>'")
    request.state.tenant = keys.tenant_of(credentials.credentials)


# A coroutine, because FastAPI sends plain functions to its thread pool.
async def _tenant(request: Request) -> Tenant:
    tenant: Tenant = request.state.tenant
    return tenant


Caller = Annotated[Tenant, Depends(_tenant)]
