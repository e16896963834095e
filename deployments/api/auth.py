"""The tenant of a request, from its `Authorization: Bearer KEY` header."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from deployments.errors import Unauthorized
from deployments.tenancy import KeyRing, Tenant

TenantDependency = Callable[..., Awaitable[Tenant]]


def tenant_dependency(keys: KeyRing) -> TenantDependency:
    """A FastAPI dependency that raises Unauthorized for want of a known key."""
    bearer = HTTPBearer(auto_error=False, description="A Winnow API key")

    # A coroutine, because FastAPI sends plain functions to its thread pool.
    async def tenant(
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    ) -> Tenant:
        if credentials is None:
            raise Unauthorized("no API key: send the header 'Authorization: Bearer <key>'")
        return keys.tenant_of(credentials.credentials)

    return tenant
