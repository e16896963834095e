"""The chaos runner's figures of one fault."""

import pytest

from loadtest.chaos.report import row_of
from loadtest.run.open_loop import Answer, Outcome

_STRUCK_S, _END_S = 10.0, 20.0


def outcome(due_s: float, took_s: float, answer: Answer, tries: int = 1) -> Outcome:
    return Outcome("a", "embed", due_s, due_s, due_s + took_s, tries, answer)


def answered(due_s: float, took_s: float, tries: int = 1) -> Outcome:
    return outcome(due_s, took_s, Answer(200), tries)


def test_what_was_under_way_when_the_fault_struck_is_counted_with_it() -> None:
    outcomes = [
        answered(8, 0.1),
        answered(9.9, 3),
        outcome(9.9, 0.6, Answer(500, "http_500", "500")),
        answered(12, 1.2, tries=2),
        answered(19.5, 2),
        answered(20.5, 0.1),
    ]
    row = row_of("fault", outcomes, _STRUCK_S, 15.0, _END_S)
    assert (row.sent, row.failed, row.retried) == (4, 1, 1)
    assert row.problems == ("500",)
    assert row.p99_before_ms == pytest.approx(100)
    assert row.p99_during_ms > 2_900
    assert row.repaired_s == 5
    # From the answer at 13.2 s to the end.
    assert row.gap_s == pytest.approx(6.8)
