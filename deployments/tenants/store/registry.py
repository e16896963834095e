"""Tenants and API keys in the control store, and the audit log of every change to them.

Every change first increments the revision, in the same transaction, and marks what it changes with
it. Routers poll the revision, which is cheap, to learn within about a second that something has
changed, and read that alone; its row lock serialises changes.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from sqlalchemy import ColumnElement, Row, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from deployments.errors import Conflict, NotFound
from deployments.request.deadline import Clock
from deployments.tenants.api_keys import DEFAULT_PLAN, KeyRecord, RegistryChanges, Scope, new_key
from deployments.tenants.store.database import Database
from deployments.tenants.store.tables import audit, keys, revision, tenants


@dataclass(frozen=True, slots=True)
class TenantRecord:
    id: str
    plan: str
    created: float
    disabled: bool


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A change to `subject`, the id of a tenant or key, by the key with the id `actor`."""

    id: int
    at: float
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


class Registry:
    """Reads and changes tenants and keys. `clock` returns seconds since 1970."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def revision(self) -> int:
        async with self._database.read() as connection:
            return await _revision(connection)

    async def changes(self, since: int | None) -> RegistryChanges:
        """Return what has changed after the revision `since`, or with None all that is valid."""
        changed_tenants, changed_keys = select(tenants), select(keys)
        if since is None:
            now = self._clock()
            changed_tenants = changed_tenants.where(~tenants.c.disabled)
            changed_keys = changed_keys.where(
                keys.c.revoked.is_(None), or_(keys.c.expires.is_(None), keys.c.expires > now)
            )
        else:
            changed_tenants = changed_tenants.where(tenants.c.changed > since)
            changed_keys = changed_keys.where(keys.c.changed > since)
        async with self._database.read() as connection:
            # Read first, so that the rows below are at least as new as the revision says.
            number = await _revision(connection)
            plans = (await connection.execute(changed_tenants)).all()
            found = (await connection.execute(changed_keys)).all()
        if since is not None:
            marked = {row.changed for row in (*plans, *found)}
            if not marked.issuperset(range(since + 1, number + 1)):
                # A row that has changed twice; or an older version of this code, during a rollout,
                # which marks nothing.
                return await self.changes(None)
        return RegistryChanges(
            number,
            tuple(_key(row) for row in found),
            {row.id: None if row.disabled else row.plan for row in plans},
            whole=since is None,
        )

    async def import_keys(self, records: Sequence[KeyRecord]) -> None:
        """Add the keys that the store has never held, and their tenants.

        A key that was revoked stays revoked.
        """
        async with self._database.read() as connection:
            known = set((await connection.execute(select(keys.c.id))).scalars())
        for record in records:
            if record.key_id not in known:
                await self._import_key(record)

    async def _import_key(self, record: KeyRecord) -> None:
        async with self._database.write() as connection:
            number = await _increment_revision(connection)
            if await connection.scalar(select(keys.c.id).where(keys.c.id == record.key_id)):
                return
            tenant = select(tenants.c.id).where(tenants.c.id == record.tenant)
            if await connection.scalar(tenant) is None:
                await self._insert_tenant(connection, record.tenant, DEFAULT_PLAN, number)
            record = record.model_copy(update={"created": record.created or self._clock()})
            await connection.execute(keys.insert().values(_row(record, number)))
            await self._note(connection, "", "key.adopt", record.key_id, {"tenant": record.tenant})

    async def create_tenant(self, id: str, plan: str, actor: str) -> TenantRecord:
        """Create a tenant. Raises Conflict if the id is taken."""
        async with self._database.write() as connection:
            number = await _increment_revision(connection)
            if await connection.scalar(select(tenants.c.id).where(tenants.c.id == id)):
                raise Conflict(f"the tenant '{id}' exists already", param="id")
            record = await self._insert_tenant(connection, id, plan, number)
            await self._note(connection, actor, "tenant.create", id, {"plan": plan})
            return record

    async def change_tenant(self, id: str, changes: dict[str, Any], actor: str) -> TenantRecord:
        """Change a tenant's `plan` or `disabled`. Raises NotFound."""
        async with self._database.write() as connection:
            number = await _increment_revision(connection)
            if changes:
                await connection.execute(
                    update(tenants).where(tenants.c.id == id).values(**changes, changed=number)
                )
            row = (await connection.execute(select(tenants).where(tenants.c.id == id))).first()
            if row is None:
                raise NotFound(f"there is no tenant '{id}'")
            await self._note(connection, actor, "tenant.change", id, changes)
            return _tenant(row)

    async def list_tenants(self, after: str | None, limit: int) -> list[TenantRecord]:
        """Return at most `limit` tenants in order of their ids, from the one after `after` on."""
        query = select(tenants).order_by(tenants.c.id).limit(limit)
        if after is not None:
            query = query.where(tenants.c.id > after)
        async with self._database.read() as connection:
            return [_tenant(row) for row in await connection.execute(query)]

    async def create_key(
        self, tenant: str, scopes: tuple[Scope, ...], expires: float | None, actor: str
    ) -> tuple[str, KeyRecord]:
        """Create a key. Return it, to be shown once, and its record. Raises NotFound."""
        async with self._database.write() as connection:
            number = await _increment_revision(connection)
            return await self._insert_key(connection, tenant, scopes, expires, actor, number)

    async def rotate_key(self, key_id: str, overlap_s: float, actor: str) -> tuple[str, KeyRecord]:
        """Create a key of the same tenant, scopes and lifetime; it lives from now on.

        The old key stays valid for `overlap_s` at most. Raises NotFound, and Conflict if the old
        key is revoked or expired.
        """
        async with self._database.write() as connection:
            number = await _increment_revision(connection)
            old = await self._find_key(connection, key_id)
            if old.revoked is not None:
                raise Conflict(f"the key '{key_id}' is revoked: create another")
            now = self._clock()
            if old.expires is not None and old.expires <= now:
                raise Conflict(f"the key '{key_id}' has expired: create another")
            lifetime_s = await _lifetime_s(connection, old)
            expires = None if lifetime_s is None else now + lifetime_s
            until = now + overlap_s if old.expires is None else min(now + overlap_s, old.expires)
            of_old = update(keys).where(keys.c.id == key_id)
            await connection.execute(of_old.values(expires=until, changed=number))
            rotated = await self._insert_key(
                connection, old.tenant, old.scopes, expires, actor, number, {"replaces": key_id}
            )
            detail = {"expires": until, "lifetime_s": lifetime_s}
            await self._note(connection, actor, "key.rotate", key_id, detail)
            return rotated

    async def revoke_key(self, key_id: str, actor: str) -> KeyRecord:
        """Revoke a key; a revoked one stays as it was. Raises NotFound."""
        async with self._database.write() as connection:
            number = await _increment_revision(connection)
            record = await self._find_key(connection, key_id)
            if record.revoked is not None:
                return record
            now = self._clock()
            of_key = update(keys).where(keys.c.id == key_id)
            await connection.execute(of_key.values(revoked=now, changed=number))
            await self._note(connection, actor, "key.revoke", key_id, {"tenant": record.tenant})
            return record.model_copy(update={"revoked": now})

    async def list_keys(
        self, tenant: str | None = None, after: str | None = None, limit: int | None = None
    ) -> list[KeyRecord]:
        """Return at most `limit` keys by tenant and age, from the one after the id `after` on."""
        order: tuple[ColumnElement[Any], ...] = (keys.c.tenant, keys.c.created, keys.c.id)
        query = select(keys).order_by(*order).limit(limit)
        if tenant is not None:
            query = query.where(keys.c.tenant == tenant)
        if after is not None:
            last = select(*order).where(keys.c.id == after).scalar_subquery()
            query = query.where(tuple_(*order) > last)
        async with self._database.read() as connection:
            return [_key(row) for row in await connection.execute(query)]

    async def audit_log(self, before: int | None, limit: int) -> list[AuditRecord]:
        """Return the last `limit` changes, latest first; with `before`, only those of lower ids."""
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.id < before)
        async with self._database.read() as connection:
            return [_audit_record(row) for row in await connection.execute(query)]

    async def _insert_tenant(
        self, connection: AsyncConnection, id: str, plan: str, number: int
    ) -> TenantRecord:
        record = TenantRecord(id, plan, self._clock(), disabled=False)
        await connection.execute(tenants.insert().values(**asdict(record), changed=number))
        return record

    async def _insert_key(
        self,
        connection: AsyncConnection,
        tenant: str,
        scopes: tuple[Scope, ...],
        expires: float | None,
        actor: str,
        number: int,
        detail: dict[str, Any] | None = None,
    ) -> tuple[str, KeyRecord]:
        if not await connection.scalar(select(tenants.c.id).where(tenants.c.id == tenant)):
            raise NotFound(f"there is no tenant '{tenant}'", param="tenant")
        key, record = new_key(tenant, scopes, self._clock(), expires)
        await connection.execute(keys.insert().values(_row(record, number)))
        facts = {"tenant": tenant, "scopes": list(scopes), "expires": expires} | (detail or {})
        await self._note(connection, actor, "key.create", record.key_id, facts)
        return key, record

    async def _find_key(self, connection: AsyncConnection, key_id: str) -> KeyRecord:
        row = (await connection.execute(select(keys).where(keys.c.id == key_id))).first()
        if row is None:
            raise NotFound(f"there is no key '{key_id}'")
        return _key(row)

    async def _note(
        self,
        connection: AsyncConnection,
        actor: str,
        action: str,
        subject: str,
        detail: dict[str, Any],
    ) -> None:
        await connection.execute(
            audit.insert().values(
                at=self._clock(),
                actor=actor,
                action=action,
                subject=subject,
                detail=json.dumps(detail),
            )
        )


async def _revision(connection: AsyncConnection) -> int:
    return int(await connection.scalar(select(revision.c.number)) or 0)


async def _lifetime_s(connection: AsyncConnection, key: KeyRecord) -> float | None:
    """Return how long the key was made for; None if for ever. Its overlap does not count."""
    rotations = (
        select(audit.c.detail)
        .where(audit.c.action == "key.rotate", audit.c.subject == key.key_id)
        .order_by(audit.c.id)
    )
    first = json.loads(await connection.scalar(rotations.limit(1)) or "{}")
    if "lifetime_s" in first:
        return cast(float | None, first["lifetime_s"])
    return None if key.expires is None else key.expires - key.created


async def _increment_revision(connection: AsyncConnection) -> int:
    """Return the new revision."""
    changed = update(revision).values(number=revision.c.number + 1).returning(revision.c.number)
    return int(await connection.scalar(changed) or 0)


def _row(record: KeyRecord, changed: int) -> dict[str, Any]:
    row = record.model_dump()
    row["id"] = row.pop("key_id")
    return row | {"scopes": ",".join(record.scopes), "changed": changed}


def _key(row: Row[Any]) -> KeyRecord:
    fields = dict(row._mapping)
    del fields["changed"]
    fields["key_id"] = fields.pop("id")
    fields["scopes"] = tuple(filter(None, fields["scopes"].split(",")))
    return KeyRecord.model_validate(fields)


def _tenant(row: Row[Any]) -> TenantRecord:
    return TenantRecord(row.id, row.plan, row.created, row.disabled)


def _audit_record(row: Row[Any]) -> AuditRecord:
    return AuditRecord(row.id, row.at, row.actor, row.action, row.subject, json.loads(row.detail))
