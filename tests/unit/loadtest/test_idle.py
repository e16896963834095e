"""The cost of an idle cluster: processes by part, and the table of them."""

from pathlib import Path
from typing import Any

import psutil
import pytest

from loadtest import idle
from loadtest.local_cluster import LocalCluster


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalCluster:
    """One whose processes are this test's own and one that has ended."""
    ended = psutil.Popen(["true"])
    ended.wait()
    monkeypatch.setattr(idle, "processes", lambda _: [psutil.Process(), ended])
    monkeypatch.setattr(LocalCluster, "running", None)
    return LocalCluster(tmp_path, {})


def test_memory_is_summed_by_part_and_an_ended_process_is_left_out(cluster: LocalCluster) -> None:
    [(part, held)] = idle._by_part(cluster, idle._memory_mib).items()
    assert part == "others"
    assert 1 < held <= psutil.Process().memory_info().rss / 2**20


def test_cpu_time_is_of_user_and_system(cluster: LocalCluster) -> None:
    before = idle._by_part(cluster, idle._cpu_seconds)["others"]
    sum(range(3_000_000))
    assert idle._by_part(cluster, idle._cpu_seconds)["others"] > before


def test_the_table_ends_with_the_sum() -> None:
    results: dict[str, Any] = {
        "command": "python -m loadtest.idle",
        "date": "2026-01-01",
        "processor": "any",
        "cores": {"Ray": 0.02, "Router": 0.03},
        "memory_mib": {"Ray": 100.4, "Router": 200.2},
    }
    *_, router, ray, whole = idle._report(results).splitlines()
    assert router == "| Router | 0.0300 | 200 |"
    assert ray == "| Ray | 0.0200 | 100 |"
    assert whole == "| all | 0.050 | 301 |"
