"""ConcurrencySlots: never many more than there are, and everyone's share is kept for it."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.errors import Overloaded
from deployments.tenants.concurrency import ConcurrencySlots


def taken(slots: ConcurrencySlots, tenant: str, weight: float = 1.0) -> int:
    """As many as it gets."""
    while True:
        try:
            slots.acquire(tenant, weight)
        except Overloaded:
            return slots.held(tenant)


def test_a_tenant_alone_may_have_them_all() -> None:
    assert taken(ConcurrencySlots(12), "a") == 12


def test_a_newcomer_gets_its_share_though_another_has_all() -> None:
    slots = ConcurrencySlots(12)
    taken(slots, "noisy")
    assert taken(slots, "b", 2.0) == 8
    slots.release("noisy")
    with pytest.raises(Overloaded):
        slots.acquire("noisy", 1.0)
    for _ in range(8):
        slots.release("noisy")
    slots.acquire("noisy", 1.0)
    assert slots.held("noisy") == 4


def test_one_is_always_let_in_and_more_may_be_allowed_at_any_time() -> None:
    slots = ConcurrencySlots(1)
    assert [taken(slots, tenant) for tenant in "abc"] == [1, 1, 1]
    slots.total = 30
    assert taken(slots, "a") == 10


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=200))
def test_counts_are_kept_and_all_together_are_bounded(steps: list[tuple[str, bool]]) -> None:
    slots, held = ConcurrencySlots(8), Counter[str]()
    for tenant, comes in steps:
        if comes:
            share = 8 / len({*held, tenant})
            try:
                slots.acquire(tenant, 1.0)
            except Overloaded:
                assert held[tenant] >= share
            else:
                assert held[tenant] < share
                held[tenant] += 1
        elif held[tenant]:
            slots.release(tenant)
            held[tenant] -= 1
        held = +held
        assert {one: slots.held(one) for one in "abcd"} == {one: held[one] for one in "abcd"}
        # The first to come has all, the second a half, the third a third.
        assert held.total() <= 8 * (1 + 1 / 2 + 1 / 3 + 1 / 4) + 4
    for tenant in held.elements():
        slots.release(tenant)
    assert not slots._tenants
    assert not slots._weight
