"""Usage: added up by hour, and no journal twice."""

from deployments.tenants.store.database import Database
from deployments.tenants.usage.ledger import UsageLedger
from deployments.tenants.usage.records import Used

ONE = Used(10, "acme", "embed", "minilm", 1, 100, 40)


async def test_usage_adds_up(database: Database) -> None:
    ledger = UsageLedger(database)
    await ledger.add("a", [ONE, Used(10, "acme", "rerank", "marco", 1, 5, 0)])
    await ledger.add("b", [ONE, Used(11, "acme", "embed", "minilm", 2, 7, 1)])
    await ledger.add("c", [Used(10, "globex", "embed", "minilm", 1, 9, 0)])
    assert await ledger.used("acme", 0, 99) == [
        Used(10, "acme", "embed", "minilm", 4, 207, 81),
        Used(10, "acme", "rerank", "marco", 1, 5, 0),
    ]
    assert [one.tenant for one in await ledger.used(None, 0, 99)] == ["acme", "acme", "globex"]
    assert [one.tokens for one in await ledger.used("acme", 11, 99)] == [7]
    assert await ledger.used("acme", 12, 99) == []


async def test_a_journal_that_comes_again_is_not_counted_again(database: Database) -> None:
    ledger = UsageLedger(database)
    await ledger.add("a", [ONE])
    await ledger.add("a", [ONE])
    assert await ledger.used(None, 0, 99) == [ONE]
    await ledger.add("b", [], settled=["a"])
    await ledger.add("b", [ONE])
    assert await ledger.used(None, 0, 99) == [ONE]
