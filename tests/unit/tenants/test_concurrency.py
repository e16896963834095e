"""ConcurrencySlots: the total is bounded, and every tenant can have its share."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.errors import Overloaded
from deployments.tenants.concurrency import ConcurrencySlots


def acquire_all(slots: ConcurrencySlots, tenant: str, weight: float = 1.0) -> int:
    """Acquire slots until refused, and return how many the tenant holds."""
    while True:
        try:
            slots.acquire(tenant, weight)
        except Overloaded:
            return slots.held(tenant)


def test_a_tenant_alone_may_hold_all_slots() -> None:
    assert acquire_all(ConcurrencySlots(12), "a") == 12


def test_a_newcomer_gets_its_share_although_another_holds_all() -> None:
    slots = ConcurrencySlots(12)
    acquire_all(slots, "noisy")
    assert acquire_all(slots, "b", 2.0) == 8
    slots.release("noisy")
    with pytest.raises(Overloaded):
        slots.acquire("noisy", 1.0)
    for _ in range(8):
        slots.release("noisy")
    slots.acquire("noisy", 1.0)
    assert slots.held("noisy") == 4


def test_every_tenant_gets_a_slot_and_the_total_can_be_raised_at_any_time() -> None:
    slots = ConcurrencySlots(1)
    assert [acquire_all(slots, tenant) for tenant in "abc"] == [1, 1, 1]
    slots.total = 30
    assert acquire_all(slots, "a") == 10


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=200))
def test_counts_are_exact_and_the_total_is_bounded(steps: list[tuple[str, bool]]) -> None:
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
    assert not slots._shares
    assert not slots._weight


def test_a_large_request_takes_its_slots_of_its_tenants_share() -> None:
    slots = ConcurrencySlots(12)
    slots.acquire("a", 1.0, 10)
    with pytest.raises(Overloaded):
        slots.acquire("a", 1.0, 3)
    slots.acquire("a", 1.0, 2)
    assert slots.held("a") == 2
    with pytest.raises(Overloaded):
        slots.acquire("b", 1.0, 7)  # more than its share, and nothing is free
    slots.acquire("b", 1.0, 6)
    slots.release("a", 10)
    slots.release("a", 2)
    slots.release("b", 6)
    slots.acquire("c", 1.0)
    slots.acquire("b", 1.0, 11)  # more than its share, of what is free
    assert slots.held("b") == 1


def test_no_number_of_tenants_has_large_requests_in_more_than_all_slots() -> None:
    slots, held = ConcurrencySlots(100), 0
    for tenant in range(1_000):
        try:
            slots.acquire(str(tenant), 1.0, 17)
        except Overloaded:
            continue
        held += 17
    assert held <= 2 * 100
