"""Records that are older than their retention are deleted, and no others."""

from sqlalchemy import select

from deployments.tenants.api_keys import ALL_SCOPES
from deployments.tenants.store.database import Database
from deployments.tenants.store.registry import Registry
from deployments.tenants.store.retention import Retention
from deployments.tenants.store.tables import usage_batches
from deployments.tenants.usage.ledger import UsageLedger
from deployments.tenants.usage.records import UsageRecord
from tests.unit.tenants.store.conftest import NOW

_DAY_S = 24 * 3600


def _used(at_s: float) -> UsageRecord:
    return UsageRecord(int(at_s // 3600), "acme", "embed", "minilm", 1, 100, 40)


async def _batches(database: Database) -> set[str]:
    async with database.read() as connection:
        return set((await connection.execute(select(usage_batches.c.id))).scalars())


async def test_names_of_journals_are_not_kept_for_ever(database: Database) -> None:
    now = [NOW]
    ledger = UsageLedger(database, lambda: now[0])
    await ledger.add("old", [_used(NOW)])
    now[0] += 89 * _DAY_S
    await ledger.add("young", [_used(NOW)])
    await Retention().apply(database, lambda: now[0])
    assert await _batches(database) == {"old", "young"}
    now[0] += 2 * _DAY_S
    await Retention().apply(database, lambda: now[0])
    assert await _batches(database) == {"young"}


async def test_usage_and_changes_are_kept_as_long_as_is_said(
    database: Database, registry: Registry, now: list[float]
) -> None:
    ledger = UsageLedger(database, lambda: now[0])
    await ledger.add("a", [_used(NOW)])
    await registry.create_tenant("old", "default", "")
    _, key = await registry.create_key("old", ALL_SCOPES, NOW + 900 * _DAY_S, "")
    _, key = await registry.rotate_key(key.key_id, 800 * _DAY_S, "")
    now[0] = NOW + 30 * _DAY_S
    await ledger.add("b", [_used(now[0])])
    await registry.create_tenant("new", "default", "")
    now[0] += 1
    await Retention().apply(database, lambda: now[0])
    assert len(await ledger.totals("acme", 0, 2**31 - 1)) == 1
    assert (await ledger.totals("acme", 0, 2**31 - 1))[0].requests == 2
    await Retention(usage_days=29, audit_days=29).apply(database, lambda: now[0])
    assert [one.requests for one in await ledger.totals("acme", 0, 2**31 - 1)] == [1]
    log = await registry.audit_log(None, 100)
    assert [(one.action, one.subject) for one in log if one.action != "key.rotate"] == [
        ("tenant.create", "new")
    ]
    assert len(log) == 2, "how long a key was made for is in the log of its rotations"
