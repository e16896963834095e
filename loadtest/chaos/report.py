"""Figures of a fault: what it did to the requests around it. Knows neither faults nor clusters."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from loadtest.run.open_loop import Outcome

_UNAVAILABLE = 503

COLUMNS = (
    "fault",
    "sent",
    "failed",
    "told to come again",
    "cut, then answered",
    "longest gap, s",
    "p99 before, ms",
    "p99 during, ms",
    "whole again, s",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One fault's figures.

    `failed` counts requests without an answer or with an error, after at most one retry, but for
    those `refused` with a 503 that says when to come again; `retried` those that were cut and then
    answered. `gap_s` is the longest time without any answer. Times are those of all that were
    answered or refused.
    `repaired_s` is None for a fault that was not repaired.
    """

    fault: str
    sent: int
    failed: int
    refused: int
    retried: int
    gap_s: float
    p99_before_ms: float
    p99_during_ms: float
    repaired_s: float | None
    problems: tuple[str, ...]

    def cells(self) -> list[str]:
        repaired = "never" if self.repaired_s is None else f"{self.repaired_s:.1f}"
        figures = [f"{self.gap_s:.1f}", f"{self.p99_before_ms:.0f}", f"{self.p99_during_ms:.0f}"]
        counts = [str(one) for one in (self.sent, self.failed, self.refused, self.retried)]
        return [self.fault, *counts, *figures, repaired]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def row_of(
    fault: str, outcomes: Sequence[Outcome], began_s: float, repaired_s: float | None, end_s: float
) -> Row:
    """Count the outcomes from `began_s`, when the fault struck, to `end_s`, the end of the watch.

    Requests under way when it struck count as sent during the fault.
    """
    before = [one for one in outcomes if one.ended_s < began_s]
    during = [one for one in outcomes if one.ended_s >= began_s and one.due_s < end_s]
    answered = sorted(one.ended_s for one in outcomes if not one.failed)
    times = [began_s, *(at for at in answered if began_s < at < end_s), end_s]
    return Row(
        fault,
        len(during),
        sum(one.failed and not _is_refused(one) for one in during),
        sum(_is_refused(one) for one in during),
        sum(not one.failed and one.tries > 1 for one in during),
        float(np.diff(times).max()),
        _p99_ms(before),
        _p99_ms(during),
        None if repaired_s is None else repaired_s - began_s,
        tuple(sorted({one.answer.message for one in during if one.failed})),
    )


def _is_refused(outcome: Outcome) -> bool:
    answer = outcome.answer
    return outcome.failed and answer.status == _UNAVAILABLE and answer.retry_after_s is not None


def _p99_ms(outcomes: Sequence[Outcome]) -> float:
    took = [1000 * one.latency_s for one in outcomes if not one.failed or _is_refused(one)]
    return float(np.percentile(took, 99)) if took else float("nan")
