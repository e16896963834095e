"""Steps within a time: what fits, what is skipped, cut off or failed, and what is left of it."""

import sys
from pathlib import Path

import pytest

from loadtest.gpu.budget import Budget, Record, Step, run_step

_WRITES = "import sys; open(sys.argv[1], 'w').write('{\"name\": \"a\"}\\n')"


def _run(code: str, figures: Path, step: Step, budget_s: float = 600) -> Record:
    command = [sys.executable, "-c", code, str(figures)]
    return run_step(step, command, figures, figures.with_suffix(".log"), Budget(budget_s))


def test_a_step_that_does_not_fit_is_skipped_and_says_why() -> None:
    now = [0.0]
    budget = Budget(100, lambda: now[0])
    assert budget.refusal(Step("a", 80)) is None
    now[0] = 10
    assert budget.refusal(Step("a", 80)) == "takes about 80 s, and 70 s are left"
    assert budget.refusal(Step("b", 70)) is None
    now[0] = 200
    assert budget.refusal(Step("b", 1)) == "takes about 1 s, and 0 s are left"


def test_a_step_may_take_longer_than_its_estimate_and_no_longer_than_there_is() -> None:
    budget = Budget(120, lambda: 0.0)
    assert budget.limit_s(Step("a", 20)) == 50
    assert budget.limit_s(Step("a", 90)) == 100


def test_a_step_that_is_skipped_is_not_run(tmp_path: Path) -> None:
    record = _run(_WRITES, tmp_path / "a.jsonl", Step("a", 700))
    assert (record.status, record.rows) == ("skipped", [])
    assert not list(tmp_path.iterdir())


def test_figures_are_read(tmp_path: Path) -> None:
    record = _run(_WRITES, tmp_path / "a.jsonl", Step("a", 1))
    assert (record.status, record.reason, record.rows) == ("done", "", [{"name": "a"}])


@pytest.mark.parametrize(
    ("then", "step", "status", "reason"),
    [
        ("raise SystemExit('out of memory')", Step("a", 60), "failed", "out of memory"),
        ("import time; time.sleep(60)", Step("a", 1.2), "cut off", "after 3 s"),
    ],
)
def test_a_step_that_does_not_end_well_says_why_and_keeps_its_figures(
    then: str, step: Step, status: str, reason: str, tmp_path: Path
) -> None:
    record = _run(f"{_WRITES}\n{then}", tmp_path / "a.jsonl", step)
    assert record.status == status
    assert reason in record.reason
    assert record.rows == [{"name": "a"}]
