"""The batches that computed the rows of a request: how long each waited and took, and where.

A replica measures durations, since clocks differ between processes; the Router places them in the
time of its call. Knows no rows and no queue.
"""

from collections.abc import Sequence
from typing import NamedTuple


# A tuple, because it is made and pickled for every request: a frozen dataclass takes longer.
class BatchRun(NamedTuple):
    """A batch with `rows` rows of a request among its `batch_rows`, which cost `batch_cost` in all:
    tokens of a model, milliseconds of a store.

    They waited `queued_s` in the replica and the batch took `ran_s`. The Router's clock read
    `called_s` when it sent the call, `answered_s` when the answer came, and about `arrived_s` when
    the call reached the replica; all three are 0 in the replica.
    """

    rows: int
    batch_rows: int
    batch_cost: int
    queued_s: float
    ran_s: float
    replica: str
    called_s: float = 0.0
    arrived_s: float = 0.0
    answered_s: float = 0.0


Runs = tuple[BatchRun, ...]
"""The runs of some rows, in the order of the rows; rows that came from a cache have none."""


def runs_of_part(runs: Runs, first: int, last: int) -> Runs:
    """Return the runs of the rows from `first` to `last` (exclusive)."""
    if not runs:
        return ()
    if first == 0 and last >= runs[0].rows and len(runs) == 1:
        return runs
    kept, start = [], 0
    for run in runs:
        end = start + run.rows
        rows = min(end, last) - max(start, first)
        if rows > 0:
            kept.append(run if rows == run.rows else run._replace(rows=rows))
        start = end
    return tuple(kept)


def place(runs: Runs, called_s: float, answered_s: float) -> Runs:
    """Return the runs, at least one, at their place in a call from `called_s` to `answered_s`.

    What the replica does not account for is the way there and back, and taken to be equally long.
    """
    replica_s = max([run[3] + run[4] for run in runs])
    arrived_s = called_s + max(0.0, answered_s - called_s - replica_s) / 2
    return tuple([BatchRun(*run[:6], called_s, arrived_s, answered_s) for run in runs])


def longest_wait_s(runs: Sequence[BatchRun]) -> float:
    return max(run.queued_s for run in runs)
