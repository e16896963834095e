"""The usage ledger: hours add up, and no journal counts twice."""

from deployments.tenants.store.database import Database
from deployments.tenants.usage.ledger import UsageLedger
from deployments.tenants.usage.records import UsageRecord

ONE = UsageRecord(10, "acme", "embed", "minilm", 1, 100, 40)


async def test_usage_adds_up(database: Database) -> None:
    ledger = UsageLedger(database)
    await ledger.add("a", [ONE, UsageRecord(10, "acme", "rerank", "marco", 1, 5, 0)])
    await ledger.add("b", [ONE, UsageRecord(11, "acme", "embed", "minilm", 2, 7, 1)])
    await ledger.add("c", [UsageRecord(10, "globex", "embed", "minilm", 1, 9, 0)])
    assert await ledger.totals("acme", 0, 99) == [
        UsageRecord(10, "acme", "embed", "minilm", 4, 207, 81),
        UsageRecord(10, "acme", "rerank", "marco", 1, 5, 0),
    ]
    assert [one.tenant for one in await ledger.totals(None, 0, 99)] == ["acme", "acme", "globex"]
    assert [one.tokens for one in await ledger.totals("acme", 11, 99)] == [7]
    assert await ledger.totals("acme", 12, 99) == []


async def test_a_journal_added_again_is_not_counted_again(database: Database) -> None:
    ledger = UsageLedger(database)
    await ledger.add("a", [ONE])
    await ledger.add("a", [ONE])
    assert await ledger.totals(None, 0, 99) == [ONE]
    await ledger.add("b", [], settled=["a"])
    await ledger.add("b", [ONE])
    assert await ledger.totals(None, 0, 99) == [ONE]
