"""Replicas killed and settings changed under load cost no client its answer."""

from pathlib import Path

from loadtest.chaos.__main__ import RATES, measure
from loadtest.chaos.cluster import ReplicatedCluster
from loadtest.chaos.faults import SHORT

# A replica that starts takes both cores of a small machine: with more to do than is left of them,
# requests are refused, which is no fault of the fault's.
_RATES = {route: rate / 2 for route, rate in RATES.items()}


async def test_no_request_fails_but_those_whose_connection_was_cut(tmp_path: Path) -> None:
    stand = ReplicatedCluster(tmp_path / "state")
    try:
        stand.up()
        rows = await measure(stand, SHORT, _RATES, before_s=3)
    finally:
        stand.down()
    for row in rows:
        assert row.sent > sum(_RATES.values())  # over a second of load, however short the fault
        assert row.failed == 0, row.problems
        assert row.repaired_s is not None, row.fault
        # Only a Router holds its clients' connections.
        assert row.retried == 0 or "Router" in row.fault, row
