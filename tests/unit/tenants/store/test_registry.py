"""Tenants and keys: every change is effective at once, raises the revision and is audited."""

import asyncio

import pytest
from sqlalchemy import text

from deployments.errors import Conflict, Forbidden, NotFound, Unauthorized
from deployments.tenants.api_keys import ALL_SCOPES, KeyRecord, KeyRing, new_key
from deployments.tenants.store.database import Database
from deployments.tenants.store.registry import Registry
from tests.unit.tenants.store.conftest import NOW


async def ring_of(registry: Registry, now: list[float]) -> KeyRing:
    ring = KeyRing(lambda: now[0])
    ring.apply(await registry.changes(None))
    return ring


async def test_a_key_gives_its_tenant_with_plan_and_scopes(
    registry: Registry, now: list[float]
) -> None:
    await registry.create_tenant("acme", "gold", "admin")
    key, record = await registry.create_key("acme", ("read",), None, "admin")
    tenant = (await ring_of(registry, now)).tenant_of(key)
    assert (tenant.id, tenant.plan, tenant.key_id) == ("acme", "gold", record.key_id)
    tenant.require("read")
    with pytest.raises(Forbidden, match="'write'"):
        tenant.require("write")
    assert key.endswith(record.last4)


async def test_the_secret_is_stored_nowhere(registry: Registry) -> None:
    await registry.create_tenant("acme", "default", "")
    key, record = await registry.create_key("acme", ALL_SCOPES, None, "")
    secret = key.rsplit("_", 1)[1]
    [stored] = await registry.list_keys()
    assert stored == record
    assert secret not in repr(stored) + repr(await registry.audit_log(None, 100))


async def test_a_rotated_key_is_valid_during_the_overlap_and_the_new_one_after(
    registry: Registry, now: list[float]
) -> None:
    await registry.create_tenant("acme", "default", "")
    old, record = await registry.create_key("acme", ("read", "write"), None, "")
    new, fresh = await registry.rotate_key(record.key_id, 60, "admin")
    assert fresh.scopes == record.scopes
    ring = await ring_of(registry, now)
    assert ring.tenant_of(old).id == ring.tenant_of(new).id == "acme"
    now[0] += 61
    with pytest.raises(Unauthorized):
        ring.tenant_of(old)
    assert ring.tenant_of(new).id == "acme"


async def test_rotation_does_not_prolong_the_old_key(registry: Registry) -> None:
    await registry.create_tenant("acme", "default", "")
    _, record = await registry.create_key("acme", ALL_SCOPES, NOW + 10, "")
    _, fresh = await registry.rotate_key(record.key_id, 60, "")
    assert {one.expires for one in await registry.list_keys("acme")} == {NOW + 10}
    assert fresh.expires == NOW + 10


async def test_a_rotated_key_lives_as_long_as_the_old_one_did(
    registry: Registry, now: list[float]
) -> None:
    await registry.create_tenant("acme", "default", "")
    _, old = await registry.create_key("acme", ALL_SCOPES, NOW + 90, "")
    now[0] = NOW + 89
    _, fresh = await registry.rotate_key(old.key_id, 60, "")
    assert fresh.expires == NOW + 89 + 90
    _, endless = await registry.create_key("acme", ALL_SCOPES, None, "")
    # A caller that did not get the first response tries again.
    for _ in range(2):
        _, fresh = await registry.rotate_key(endless.key_id, 60, "")
        assert fresh.expires is None


async def test_an_expired_key_is_not_rotated(registry: Registry, now: list[float]) -> None:
    await registry.create_tenant("acme", "default", "")
    _, old = await registry.create_key("acme", ALL_SCOPES, NOW + 90, "")
    now[0] = NOW + 90
    with pytest.raises(Conflict):
        await registry.rotate_key(old.key_id, 60, "")


async def test_unknown_expired_revoked_and_disabled_are_refused_alike(
    registry: Registry, now: list[float]
) -> None:
    for tenant in ("acme", "gone"):
        await registry.create_tenant(tenant, "default", "")
    unknown, _ = new_key("acme")
    expired, _ = await registry.create_key("acme", ALL_SCOPES, NOW - 1, "")
    revoked, record = await registry.create_key("acme", ALL_SCOPES, None, "")
    disabled, _ = await registry.create_key("gone", ALL_SCOPES, None, "")
    good, _ = await registry.create_key("acme", ALL_SCOPES, None, "")
    await registry.revoke_key(record.key_id, "")
    await registry.change_tenant("gone", {"disabled": True}, "")
    ring = await ring_of(registry, now)
    said = set()
    for key in (unknown, expired, revoked, disabled):
        with pytest.raises(Unauthorized) as refusal:
            ring.tenant_of(key)
        said.add(refusal.value.message)
    assert said == {"this API key is not known here"}
    assert ring.tenant_of(good).id == "acme"
    await registry.change_tenant("gone", {"disabled": False}, "")
    assert (await ring_of(registry, now)).tenant_of(disabled).id == "gone"


async def test_every_change_raises_the_revision_and_is_audited(registry: Registry) -> None:
    seen = await registry.revision()
    await registry.create_tenant("acme", "default", "boss")
    _, record = await registry.create_key("acme", ("read",), None, "boss")
    changes = [
        registry.change_tenant("acme", {"plan": "gold"}, "boss"),
        registry.rotate_key(record.key_id, 0, "boss"),
        registry.revoke_key(record.key_id, "boss"),
    ]
    assert await registry.revision() == seen + 2
    for count, change in enumerate(changes, 3):
        await change
        assert await registry.revision() == seen + count
    audited = await registry.audit_log(None, 100)
    assert [one.action for one in audited] == [
        "key.revoke",
        "key.rotate",
        "key.create",
        "tenant.change",
        "key.create",
        "tenant.create",
    ]
    assert {one.actor for one in audited} == {"boss"}
    assert audited[3].detail == {"plan": "gold"}
    [older] = await registry.audit_log(audited[-2].id, 100)
    assert older == audited[-1]


async def test_changes_of_what_is_missing_or_exists_are_refused(registry: Registry) -> None:
    await registry.create_tenant("acme", "default", "")
    before = len(await registry.audit_log(None, 100))
    with pytest.raises(Conflict):
        await registry.create_tenant("acme", "default", "")
    with pytest.raises(NotFound):
        await registry.change_tenant("none", {"plan": "gold"}, "")
    with pytest.raises(NotFound):
        await registry.create_key("none", ALL_SCOPES, None, "")
    with pytest.raises(NotFound):
        await registry.revoke_key("none", "")
    _, record = await registry.create_key("acme", ALL_SCOPES, None, "")
    await registry.revoke_key(record.key_id, "")
    await registry.revoke_key(record.key_id, "")
    with pytest.raises(Conflict):
        await registry.rotate_key(record.key_id, 0, "")
    assert len(await registry.audit_log(None, 100)) == before + 2


async def test_keys_of_the_file_are_imported_once_and_stay_revoked(
    registry: Registry, now: list[float]
) -> None:
    key, record = new_key("first")
    await registry.import_keys([record])
    assert (await ring_of(registry, now)).tenant_of(key).scopes == set(ALL_SCOPES)
    await registry.revoke_key(record.key_id, "")
    await registry.import_keys([record])
    with pytest.raises(Unauthorized):
        (await ring_of(registry, now)).tenant_of(key)


async def test_two_processes_open_and_change_the_store_at_once(url: str) -> None:
    databases = await asyncio.gather(Database.open(url), Database.open(url))
    registries = [Registry(database, lambda: NOW) for database in databases]
    _, record = new_key("first")
    await asyncio.gather(*(registry.import_keys([record]) for registry in registries))
    await asyncio.gather(
        *(
            registry.create_tenant(f"t-{turn}-{one}", "default", "")
            for turn in range(10)
            for one, registry in enumerate(registries)
        )
    )
    assert len(await registries[0].list_tenants(None, 100)) == 21
    assert len(await registries[1].list_keys()) == 1
    for database in databases:
        await database.close()


async def test_what_an_older_version_changes_is_found_although_it_marks_nothing(
    registry: Registry, database: Database
) -> None:
    await registry.create_tenant("acme", "default", "")
    _, record = await registry.create_key("acme", ALL_SCOPES, None, "")
    before = await registry.revision()
    async with database.write() as connection:
        await connection.execute(text("UPDATE revision SET number = number + 1"))
        await connection.execute(text(f"UPDATE keys SET revoked = {NOW}"))
    changes = await registry.changes(before)
    assert changes.whole
    assert changes.keys == ()
    assert changes.plans == {"acme": "default"}
    _, expired = await registry.create_key("acme", ALL_SCOPES, NOW - 1, "")
    assert (await registry.changes(None)).keys == ()
    assert (await registry.changes(before + 1)).keys == (expired,)
    assert record.revoked is None


async def test_lists_come_in_pages_that_leave_nothing_out(
    registry: Registry, now: list[float]
) -> None:
    for tenant in ("b", "a", "c"):
        await registry.create_tenant(tenant, "default", "")
        for _ in range(3):
            await registry.create_key(tenant, ALL_SCOPES, None, "")
        now[0] += 1
    whole = await registry.list_keys()
    assert [key.tenant for key in whole] == [*"aaabbbccc"]
    found: list[KeyRecord] = []
    while page := await registry.list_keys(None, found[-1].key_id if found else None, 2):
        found += page
    assert found == whole
    assert await registry.list_keys("b", found[3].key_id, 9) == whole[4:6]
    assert [one.id for one in await registry.list_tenants(None, 2)] == ["a", "b"]
    assert [one.id for one in await registry.list_tenants("b", 2)] == ["c"]
