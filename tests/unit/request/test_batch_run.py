"""Runs follow their rows through cuts and joins, and lie inside the call that they were part of."""

from hypothesis import given
from hypothesis import strategies as st

from deployments.request.batch_run import BatchRun, Runs, place, runs_of_part

_SECONDS = st.floats(0, 100)
_RUNS = st.lists(
    st.builds(
        BatchRun, st.integers(1, 5), st.integers(1, 9), st.just(7), _SECONDS, _SECONDS, st.text()
    ),
    min_size=1,
    max_size=6,
).map(tuple)


def _by_row(runs: Runs) -> list[BatchRun]:
    """The run of each row, without how many others it has."""
    return [run._replace(rows=0) for run in runs for _ in range(run.rows)]


@given(_RUNS, st.data())
def test_a_part_has_the_runs_of_its_rows(runs: Runs, data: st.DataObject) -> None:
    rows = sum(run.rows for run in runs)
    first = data.draw(st.integers(0, rows))
    last = data.draw(st.integers(first, rows))
    assert _by_row(runs_of_part(runs, first, last)) == _by_row(runs)[first:last]


@given(_RUNS, st.floats(0, 1e6), st.floats(0, 100))
def test_runs_lie_in_their_call(runs: Runs, called_s: float, more_s: float) -> None:
    replica_s = max(run.queued_s + run.ran_s for run in runs)
    answered_s = called_s + replica_s + more_s
    for run in place(runs, called_s, answered_s):
        assert called_s <= run.arrived_s
        assert run.arrived_s + run.queued_s + run.ran_s <= answered_s + 1e-6
        assert (run.called_s, run.answered_s) == (called_s, answered_s)
