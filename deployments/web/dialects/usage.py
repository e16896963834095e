"""GET /v1/usage: what a tenant had, to the token."""

import time
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from deployments.tenants.api_keys import TenantId
from deployments.tenants.usage.meter import HOUR_S
from deployments.web.auth import Caller
from deployments.web.guarded_route import Guard
from deployments.web.schemas import WireQuery
from deployments.web.service import Service

_Time = Annotated[int, Field(ge=0, le=2**40)]


class UsageQuery(WireQuery):
    """Times are seconds since 1970."""

    since: _Time | None = None
    until: _Time | None = None
    tenant: TenantId | None = None


class UsageItem(BaseModel):
    """`cached_tokens`, of the `tokens`, were spared the model by a cache."""

    model_config = ConfigDict(from_attributes=True)

    tenant: str
    stage: str
    model: str
    requests: int
    tokens: int
    cached_tokens: int


class UsageReport(BaseModel):
    """Usage of the hours that `since` and `until` lie in and those between; seconds since 1970."""

    since: int
    until: int
    usage: list[UsageItem]


def routes(service: Service, guarded: Guard) -> APIRouter:
    router = APIRouter(route_class=guarded("read"), tags=["usage"])

    @router.get("/v1/usage")
    async def usage(caller: Caller, query: Annotated[UsageQuery, Query()]) -> UsageReport:
        """The caller's usage a stage and model, in the last 30 days unless said otherwise. Another
        `tenant` needs the scope admin."""
        tenant = query.tenant or caller.tenant.id
        if tenant != caller.tenant.id:
            caller.tenant.require("admin")
        last = int(time.time()) if query.until is None else query.until
        first = max(0, last - 30 * 24 * HOUR_S) if query.since is None else query.since
        await service.control.meter.flush()
        hours = (first // HOUR_S, last // HOUR_S)
        used = await service.control.ledger.totals(tenant, *hours)
        return UsageReport(
            since=first, until=last, usage=[UsageItem.model_validate(one) for one in used]
        )

    return router
