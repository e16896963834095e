"""Due time of a table's maintenance, by the writes to it."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from deployments.stores.lancedb.maintenance_process import MaintenancePolicy, TableState

POLICY = MaintenancePolicy(fragments=100, idle_fragments=8, idle_records=1_000, idle_s=10)


@contextlib.asynccontextmanager
async def nothing_held() -> AsyncIterator[None]:
    yield


def state(
    *,
    fragments: int = 0,
    records: int = 0,
    not_before_s: float = 0.0,
    too_busy_until_s: float = 0.0,
    prune_s: float | None = None,
) -> TableState:
    """A table whose last commit was at 1,000 s."""
    return TableState(
        "docs",
        nothing_held,
        fragments=fragments,
        records=records,
        committed_s=1_000.0,
        not_before_s=not_before_s,
        too_busy_until_s=too_busy_until_s,
        prune_s=prune_s,
    )


@pytest.mark.parametrize(
    ("table", "due_s"),
    [
        (state(), None),
        (state(fragments=7, records=999), None),
        (state(fragments=8), 1_010),
        (state(fragments=1, records=1_000), 1_010),
        (state(fragments=100), 0),
        (state(fragments=100, not_before_s=1_005), 1_005),
        # Too large to be merged beside so many writes: when it is idle.
        (state(fragments=100, too_busy_until_s=4_000), 1_010),
        (state(fragments=100, too_busy_until_s=1_004), 1_004),
        (state(prune_s=1_060), 1_060),
        (state(prune_s=1_060, not_before_s=2_000), 2_000),
        (state(fragments=8, prune_s=1_060), 1_010),
    ],
)
def test_a_table_is_due(table: TableState, due_s: float | None) -> None:
    assert table.due_s(POLICY) == due_s
