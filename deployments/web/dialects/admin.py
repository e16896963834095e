"""The operator's routes, /v1/admin: tenants, their keys, who changed what, what each replica does.

A key with the scope admin may do all of it for every tenant.
"""

import time
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from deployments.errors import InvalidRequest
from deployments.tenants.admission import Admission
from deployments.tenants.api_keys import DEFAULT_PLAN, KeyRecord, Scope, TenantId
from deployments.tenants.plans import Plans
from deployments.tenants.store.registry import AuditRecord, TenantRecord
from deployments.tenants.tenant_store import TenantStore
from deployments.web.auth import Caller
from deployments.web.guarded_route import Guard
from deployments.web.schemas import MAX_CHOICES, ReplicaList, Wire, WireQuery
from deployments.web.service import Service

_DAY_S = 24 * 3600
_MAX_S = 10 * 366 * _DAY_S
_PAGE = 1_000

KeyId = Annotated[str, Path(pattern=r"^[0-9A-Za-z]{1,63}$")]
Id = Annotated[TenantId, Path()]


class TenantRequest(Wire):
    id: TenantId
    plan: str = DEFAULT_PLAN


class TenantChange(Wire):
    """A change of a tenant; a field that is not given stays. No key of a disabled tenant opens
    anything; its documents stay."""

    plan: str | None = None
    disabled: bool | None = None


class TenantBody(BaseModel):
    """`created` is in seconds since 1970."""

    id: str
    plan: str
    created: int
    disabled: bool


class PageQuery(WireQuery):
    """At most `limit`, from the one after the id `after` on."""

    # What ids of tenants and of keys are made of.
    after: str | None = Field(default=None, pattern=r"^[0-9A-Za-z_-]{0,63}$")
    limit: int = Field(default=_PAGE, ge=1, le=_PAGE)


class TenantList(BaseModel):
    """`after`, the id to ask on with, is null after the last."""

    tenants: list[TenantBody]
    after: str | None


class KeyRequest(Wire):
    tenant: TenantId
    scopes: list[Scope] = Field(default=["read", "write"], min_length=1, max_length=MAX_CHOICES)
    expires_in_s: int | None = Field(default=None, gt=0, le=_MAX_S)


class KeyQuery(PageQuery):
    tenant: TenantId | None = None


class AuditQuery(WireQuery):
    before: int | None = Field(default=None, ge=1, le=2**62)
    limit: int = Field(default=100, ge=1, le=1000)


class RotateRequest(Wire):
    """The old key opens for `overlap_s` more."""

    overlap_s: int = Field(default=_DAY_S, ge=0, le=_MAX_S)


class KeyBody(BaseModel):
    """A key without its secret; times in seconds since 1970."""

    id: str
    tenant: str
    last4: str
    scopes: list[Scope]
    created: int
    expires: int | None
    revoked: int | None


class NewKey(KeyBody):
    """`key` is shown here and never again."""

    key: str


class KeyList(BaseModel):
    """`after`, the id to ask on with, is null after the last."""

    keys: list[KeyBody]
    after: str | None


class AuditBody(BaseModel):
    """`actor` is the id of the key that did it; empty for what a Router did by itself."""

    id: int
    at: int
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


class AuditPage(BaseModel):
    """The latest first; `before`, the id to ask on with, is null after the last."""

    audit: list[AuditBody]
    before: int | None


class Registered(Protocol):
    """A service, as the routes of tenants and keys need it."""

    @property
    def control(self) -> TenantStore: ...

    @property
    def admission(self) -> Admission: ...


def routes(service: Service, guarded: Guard) -> APIRouter:
    router = tenant_routes(service, guarded)
    _add_replicas(router, service)
    return router


def tenant_routes(service: Registered, guarded: Guard) -> APIRouter:
    """The routes that need no stage."""
    router = APIRouter(prefix="/v1/admin", route_class=guarded("admin"), tags=["admin"])
    _add_tenants(router, service)
    _add_keys(router, service)
    _add_audit(router, service)
    return router


def _add_tenants(router: APIRouter, service: Registered) -> None:
    registry = service.control.registry

    @router.post("/tenants", status_code=201)
    async def create(body: TenantRequest, caller: Caller) -> TenantBody:
        """A tenant, without keys yet; 409 if there is one of that id."""
        _require_plan(body.plan, service.admission.plans)
        made = await registry.create_tenant(body.id, body.plan, caller.tenant.key_id)
        return _tenant(made)

    @router.get("/tenants")
    async def list_all(query: Annotated[PageQuery, Query()]) -> TenantList:
        """All tenants, by id, a page at a time."""
        found = await registry.list_tenants(query.after, query.limit)
        last = found[-1].id if len(found) == query.limit else None
        return TenantList(tenants=[_tenant(one) for one in found], after=last)

    @router.patch("/tenants/{id}")
    async def change(id: Id, body: TenantChange, caller: Caller) -> TenantBody:
        """Another plan, disabled, or enabled again; every Router knows within seconds."""
        if body.plan is not None:
            _require_plan(body.plan, service.admission.plans)
        changes = body.model_dump(exclude_none=True)
        changed = await registry.change_tenant(id, changes, caller.tenant.key_id)
        await service.control.try_refresh()
        return _tenant(changed)


def _add_keys(router: APIRouter, service: Registered) -> None:
    registry = service.control.registry

    @router.post("/keys", status_code=201)
    async def create(body: KeyRequest, caller: Caller) -> NewKey:
        """A key of a tenant. It opens here at once, at every Router within seconds."""
        expires = None if body.expires_in_s is None else time.time() + body.expires_in_s
        scopes = tuple(dict.fromkeys(body.scopes))
        made = await registry.create_key(body.tenant, scopes, expires, caller.tenant.key_id)
        await service.control.try_refresh()
        return _new_key(*made)

    @router.get("/keys")
    async def list_all(query: Annotated[KeyQuery, Query()]) -> KeyList:
        """All keys, or a tenant's, revoked ones too, by tenant and age, a page at a time."""
        found = await registry.list_keys(query.tenant, query.after, query.limit)
        last = found[-1].key_id if len(found) == query.limit else None
        return KeyList(keys=[_key(one) for one in found], after=last)

    @router.post("/keys/{id}/rotate", status_code=201)
    async def rotate(id: KeyId, caller: Caller, body: RotateRequest | None = None) -> NewKey:
        """Another key in its place; both open for a while."""
        overlap_s = (body or RotateRequest()).overlap_s
        made = await registry.rotate_key(id, overlap_s, caller.tenant.key_id)
        await service.control.try_refresh()
        return _new_key(*made)

    @router.delete("/keys/{id}")
    async def revoke(id: KeyId, caller: Caller) -> KeyBody:
        """The key opens nothing any more: here at once, at every Router within seconds."""
        record = await registry.revoke_key(id, caller.tenant.key_id)
        await service.control.try_refresh()
        return _key(record)


def _add_audit(router: APIRouter, service: Registered) -> None:
    @router.get("/audit")
    async def audit(query: Annotated[AuditQuery, Query()]) -> AuditPage:
        """Every change of a tenant or a key, the latest first."""
        found = await service.control.registry.audit_log(query.before, query.limit)
        last = found[-1].id if len(found) == query.limit else None
        return AuditPage(audit=[_audited(one) for one in found], before=last)


def _add_replicas(router: APIRouter, service: Service) -> None:
    @router.get("/replicas")
    async def replicas() -> ReplicaList:
        """The waiting and the finished work of every replica of every stage: each is asked."""
        return await service.replicas()


def _require_plan(name: str, plans: Plans) -> None:
    if name not in plans:
        known = ", ".join(sorted({DEFAULT_PLAN, *plans.plans}))
        raise InvalidRequest(f"there is no plan '{name}': take one of {known}", param="plan")


def _tenant(record: TenantRecord) -> TenantBody:
    return TenantBody(
        id=record.id, plan=record.plan, created=int(record.created), disabled=record.disabled
    )


def _key(record: KeyRecord) -> KeyBody:
    return KeyBody(**_fields(record))


def _new_key(key: str, record: KeyRecord) -> NewKey:
    return NewKey(key=key, **_fields(record))


def _fields(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.key_id,
        "tenant": record.tenant,
        "last4": record.last4,
        "scopes": list(record.scopes),
        "created": int(record.created),
        "expires": None if record.expires is None else int(record.expires),
        "revoked": None if record.revoked is None else int(record.revoked),
    }


def _audited(record: AuditRecord) -> AuditBody:
    return AuditBody(
        id=record.id,
        at=int(record.at),
        actor=record.actor,
        action=record.action,
        subject=record.subject,
        detail=record.detail,
    )
