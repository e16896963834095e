"""Replicas killed and settings changed under load cost no client its answer."""

from pathlib import Path

from loadtest.chaos.__main__ import measure
from loadtest.chaos.faults import SHORT
from loadtest.chaos.stand import Stand


async def test_no_request_fails_but_those_whose_connection_was_cut(tmp_path: Path) -> None:
    stand = Stand(tmp_path / "state")
    try:
        stand.up()
        rows = await measure(stand, SHORT)
    finally:
        stand.down()
    for row in rows:
        assert row.sent > 20
        assert row.failed == 0, row.problems
        assert row.repaired_s is not None, row.fault
        # Only a Router holds its clients' connections.
        assert row.retried == 0 or "Router" in row.fault, row
