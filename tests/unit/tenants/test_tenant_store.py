"""TenantStore: the copy of the keys that a Router checks callers against."""

import asyncio
from pathlib import Path

import pytest

from deployments.errors import Unauthorized
from deployments.tenants.api_keys import ALL_SCOPES, RegistryChanges
from deployments.tenants.store.registry import Registry
from deployments.tenants.tenant_store import TenantStore


async def test_an_older_copy_never_replaces_a_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await TenantStore.open(
        None, tmp_path, {}, lambda *_: None, lambda: None, lambda: 1_000_000.0
    )
    await store.registry.create_tenant("acme", "default", "")
    key, record = await store.registry.create_key("acme", ALL_SCOPES, None, "")
    read, resume = asyncio.Event(), asyncio.Event()
    changes = Registry.changes

    async def held_up(registry: Registry, since: int | None) -> RegistryChanges:
        found = await changes(registry, since)
        if not read.is_set():
            read.set()
            await resume.wait()
        return found

    monkeypatch.setattr(Registry, "changes", held_up)
    slow = asyncio.create_task(store.refresh())
    await read.wait()
    await store.registry.revoke_key(record.key_id, "")
    after_revocation = asyncio.create_task(store.refresh())
    await asyncio.wait({after_revocation}, timeout=0.2)
    resume.set()
    await asyncio.gather(slow, after_revocation)
    with pytest.raises(Unauthorized):
        store.keys.tenant_of(key)
    await store.database.close()


async def test_a_change_reads_what_has_changed_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await TenantStore.open(
        None, tmp_path, {}, lambda *_: None, lambda: None, lambda: 1_000_000.0
    )
    read: list[RegistryChanges] = []
    changes = Registry.changes

    async def noted(registry: Registry, since: int | None) -> RegistryChanges:
        read.append(await changes(registry, since))
        return read[-1]

    await store.registry.create_tenant("acme", "default", "")
    made = [await store.registry.create_key("acme", ALL_SCOPES, None, "") for _ in range(20)]
    await store.refresh()
    monkeypatch.setattr(Registry, "changes", noted)
    _, old = made[0]
    await store.registry.revoke_key(old.key_id, "")
    key, record = await store.registry.create_key("acme", ALL_SCOPES, None, "")
    await store.refresh()
    await store.registry.change_tenant("acme", {"plan": "gold"}, "")
    await store.refresh()
    await store.refresh()
    assert [({one.key_id for one in changes.keys}, dict(changes.plans)) for changes in read] == [
        ({old.key_id, record.key_id}, {}),
        (set(), {"acme": "gold"}),
    ]
    assert {store.keys.tenant_of(one).plan for one in (key, made[1][0])} == {"gold"}
    with pytest.raises(Unauthorized):
        store.keys.tenant_of(made[0][0])
    await store.registry.change_tenant("acme", {"disabled": True}, "")
    await store.refresh()
    with pytest.raises(Unauthorized):
        store.keys.tenant_of(key)
    await store.registry.change_tenant("acme", {"disabled": False}, "")
    await store.refresh()
    assert store.keys.tenant_of(key).plan == "gold"
    await store.database.close()
