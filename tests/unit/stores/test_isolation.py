"""Isolation: no tenant reaches another's documents, and no string is interpreted."""

import pytest

from deployments.errors import InvalidRequest
from deployments.stores.base import Compare, Namespace, VectorQuery, VectorStore
from tests.unit.stores.made import count, record, unit

HOSTILE = [
    "it's",
    '"; DROP TABLE docs; --',
    "' OR '1'='1",
    "a\\b%_`$",
    "naïve 日本語 🏔 \u202e",
    "line\nbreak\ttab",
    "\x1b\x1e\x1f sep",
    "a.b[0]",
    "",
]

EAST = unit(1, 0, 0, 0)


async def test_another_tenants_ids_are_out_of_reach(
    filled: VectorStore, ns: Namespace, other: Namespace
) -> None:
    assert await filled.get(ns, ["d10", "d11"]) == [None, None]
    assert await filled.delete(ns, ids=["d10", "d11"]) == 0
    assert await count(filled, other) == 12
    await filled.upsert(ns, [record("d10", text="ours")])
    [theirs] = await filled.get(other, ["d10"])
    assert theirs is not None
    assert theirs.text == "theirs"
    assert "theirs" not in {r.text for r in (await filled.scan(ns, None, 100)).records}
    [hits] = await filled.search([VectorQuery(ns, EAST, 100)])
    assert "theirs" not in {hit.record.text for hit in hits}
    assert await filled.delete(ns, where=Compare("at", "ne", -1)) == 11
    assert (await count(filled, ns), await count(filled, other)) == (0, 12)


async def test_hostile_strings_are_not_interpreted(
    filled: VectorStore, ns: Namespace, other: Namespace
) -> None:
    hostile = [
        record(text, text=text, metadata={text: text, "list": [text, "x"]}) for text in HOSTILE
    ]
    await filled.upsert(ns, hostile)
    found = await filled.get(ns, HOSTILE)
    assert [(r.id, r.text, r.metadata) for r in found if r] == [
        (r.id, r.text, r.metadata) for r in hostile
    ]
    for text in HOSTILE:
        for where in (
            Compare(text, "eq", text),
            Compare(text, "gte", text),
            Compare("list", "in", (text,)),
        ):
            [hits] = await filled.search([VectorQuery(ns, EAST, 50, where)])
            assert [hit.record.id for hit in hits] == [text]
    assert await filled.delete(ns, ids=HOSTILE[:3]) == 3
    assert await filled.delete(ns, where=Compare(HOSTILE[4], "eq", HOSTILE[4])) == 1
    assert (await count(filled, ns), await count(filled, other)) == (10 + len(HOSTILE) - 4, 12)


@pytest.mark.parametrize("tenant", ["", ".ab", "a..b", "a/b", "-a", "ä", "a\n", "a" * 64])
def test_an_ambiguous_tenant_name_is_refused(tenant: str) -> None:
    with pytest.raises(ValueError, match="tenant"):
        Namespace(tenant, "docs")


@pytest.mark.parametrize("collection", ["", "b..docs", "a/b", "Docs", "_a", "a\n", "a" * 64])
def test_an_ambiguous_collection_name_is_refused(collection: str) -> None:
    with pytest.raises(ValueError, match="collection"):
        Namespace("a", collection)


async def test_half_a_surrogate_pair_is_refused(filled: VectorStore, ns: Namespace) -> None:
    for bad in (record("\ud800"), record("x", text="\ud800"), record("x", metadata={"\ud800": 1})):
        with pytest.raises(InvalidRequest):
            await filled.upsert(ns, [bad])
