"""TenantStore: the copy of the keys that a Router checks callers against."""

import asyncio
from pathlib import Path

import pytest

from deployments.errors import Unauthorized
from deployments.tenants.api_keys import ALL_SCOPES, RegistrySnapshot
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
    snapshot = Registry.snapshot

    async def held_up(registry: Registry) -> RegistrySnapshot:
        found = await snapshot(registry)
        if not read.is_set():
            read.set()
            await resume.wait()
        return found

    monkeypatch.setattr(Registry, "snapshot", held_up)
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
