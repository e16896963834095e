"""The benchmark's verdict: ratios to the best of others, and who is behind."""

import pytest

from loadtest.bench.rows import LatencyRow, Round, Row
from loadtest.bench.targets import Target, behind, targets
from loadtest.bench.workloads import Workload
from loadtest.bench.wrk import Measurement

ONE, MANY = Workload("embed", 1, 32), Workload("embed", 32, 8)


def row(workload: Workload, server: str, requests_per_s: float) -> Row:
    seen = Measurement(
        requests=round(10 * requests_per_s),
        requests_per_s=requests_per_s,
        p50_ms=1,
        p99_ms=2,
        failed=0,
        client_cores=0.1,
    )
    return Row.of(workload, server, [Round(seen, {"engines": 10.0})])


ROWS = [
    row(ONE, "winnow", 105),
    row(ONE, "one peer", 100),
    row(ONE, "another", 50),
    row(MANY, "winnow", 8),
    row(MANY, "one peer", 10),
]


def by_name(found: list[Target]) -> dict[str, Target]:
    return {one.what: one for one in found}


def test_a_row_is_of_all_its_texts() -> None:
    of_many = ROWS[3]
    assert of_many.rows_per_s == 8 * 32
    assert of_many.core_ms == {"engines": pytest.approx(10_000 / (80 * 32))}


def test_throughput_is_compared_with_the_best_peer_and_the_best_engine() -> None:
    found = by_name(targets(ROWS, [], {"embed": 512}, None, "winnow"))
    assert found["embed-1, of the best peer"].seen == pytest.approx(1.05)
    assert found["embed-1, of the best peer"].met
    assert found["embed-32, of the best peer"].seen == pytest.approx(0.8)
    assert not found["embed-32, of the best peer"].met
    assert found["embed-32, of the best raw engine"].seen == pytest.approx(0.5)
    assert len(found) == 3


def test_latency_may_not_be_above_the_best_peers() -> None:
    latencies = [
        LatencyRow(ONE, server, 50, 1, p99_ms, 0)
        for server, p99_ms in {"winnow": 30.0, "one peer": 20.0, "another": 40.0}.items()
    ]
    [found] = targets([], latencies, {}, None, "winnow")
    assert (found.seen, found.met) == (1.5, False)


def test_searches_are_compared_with_a_graph_of_two_hops() -> None:
    rates = {"two-hop Serve graph": 1000, "Winnow": 1000, "Winnow, rerank: false": 1400}
    medians = {name: {"requests_per_s": rate} for name, rate in rates.items()}
    found = targets([], [], {}, {"medians": medians}, "winnow")
    assert [(one.seen, one.met) for one in found] == [(1.0, True), (1.4, False)]


def test_behind_names_the_workloads_in_which_a_peer_is_ahead() -> None:
    assert behind(ROWS, "winnow") == ["embed-32"]
    assert behind([one for one in ROWS if one.server != "winnow"], "winnow") == []
    assert behind([one for one in ROWS if one.server == "winnow"], "winnow") == []
