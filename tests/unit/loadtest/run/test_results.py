"""The outcomes of a run over time, and as a summary."""

import math

import pytest

from loadtest.run.open_loop import Answer, Outcome
from loadtest.run.results import Results

_OK = Answer(200)
_BUSY = Answer(503, "overloaded", retry_after_s=1.0)


def outcome(due_s: float, latency_s: float, answer: Answer = _OK, tries: int = 1) -> Outcome:
    return Outcome("a", "search", due_s, due_s + 0.004, due_s + latency_s, tries, answer)


def test_a_timeline_puts_arrivals_where_they_were_due_and_answers_where_they_came() -> None:
    seen = Results.of([outcome(0.5, 2.0), outcome(0.7, 0.1), outcome(1.5, 0.2, _BUSY)], 0)
    timeline = seen.timeline()
    assert timeline["bin_s"] == 1
    assert timeline["offered_per_s"] == [2, 1, 0]
    assert timeline["answered_per_s"] == [1, 0, 1]
    assert timeline["failed_per_s"] == [0, 1, 0]
    assert timeline["p50_ms"] == [1050, None, None]
    assert sum(timeline["offered_per_s"]) == len(seen)


def test_a_long_run_has_as_many_bins_as_a_plot_needs() -> None:
    timeline = Results.of([outcome(n, 0.1) for n in range(2000)], 0).timeline()
    assert timeline["bin_s"] == 40
    assert timeline["offered_per_s"] == [1.0] * 50


def test_a_summary_counts_what_failed_was_cut_and_was_degraded() -> None:
    outcomes = [outcome(n, 0.1) for n in range(5)]
    outcomes += [outcome(5, 0.1, _BUSY), outcome(6, 0.1, Answer(200, degraded=True))]
    outcomes += [outcome(7, 1.2, tries=2), outcome(8, 1.2, Answer(None, "cut"), tries=2)]
    summary = Results.of(outcomes, 0).summary()
    assert (summary["sent"], summary["failed"], summary["degraded"]) == (9, 2, 1)
    assert summary["errors"] == {"overloaded": 1, "cut": 1}
    assert summary["cut_then_answered"] == 1
    assert summary["p50_ms"] == 100


def test_the_clients_own_lateness_is_told() -> None:
    assert Results.of([outcome(0, 1)], 0).client_late_ms() == {"p50": 4, "p99": 4, "max": 4}


def test_where_nothing_was_answered_there_is_no_percentile() -> None:
    seen = Results.of([outcome(0, 1, _BUSY)], 0)
    assert math.isnan(seen.percentile_ms(99))
    assert seen.summary()["p99_ms"] is None
    assert seen.share_within(5) == pytest.approx(0)
