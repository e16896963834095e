"""A table of every replica: its state, as Serve has it, and its work, as it tells itself.

Rates are what was done between two looks over the time between them.
"""

from collections.abc import Callable
from typing import Any

from rich.table import Table

from cluster.local.serve_api import ApplicationState, ReplicaState
from cluster.stages import STAGE_OF_DEPLOYMENT

_COLUMNS = ("deployment", "replica", "node", "state")
_FIGURES = (
    "queued\nrows",
    "queued\ntokens",
    "waits\ns",
    "tokens\n/s",
    "batches",
    "tokens\na batch",
)
# The index counts the milliseconds that its store is estimated to need.
_UNIT_OF = {"retrieve": " ms"}
_NOT_KNOWN = ("",) * len(_FIGURES)


class ReplicaFigures:
    """Figures of replicas at the last two looks, by their ids; `clock` returns seconds.

    `silent` are the stages of which one did not answer in time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at_s = self._before_s = clock()
        self._now: dict[str, dict[str, Any]] = {}
        self._before: dict[str, dict[str, Any]] = {}
        self.silent: list[str] = []

    def take(self, answer: dict[str, Any]) -> None:
        """Take what /v1/admin/replicas answers."""
        self._before, self._before_s = self._now, self._at_s
        loads = [load for stage in answer["stages"].values() for load in stage]
        self._now, self._at_s = {load["replica"]: load for load in loads}, self._clock()
        self.silent = answer["silent"]

    def forget(self) -> None:
        """Nothing is known of now: the next rates need two looks again."""
        self._now, self._before, self.silent = {}, {}, []

    def row(self, replica: str, unit: str) -> tuple[str, ...]:
        """Return the figures of one replica; empty where it said nothing."""
        load = self._now.get(replica)
        if load is None:
            return _NOT_KNOWN
        batches = load["batches_done"]
        mean = f"{load['cost_done'] / batches:,.0f}{unit}" if batches else ""
        return (
            f"{load['queued_rows']:,}",
            f"{load['queued_cost']:,.0f}{unit}",
            f"{load['oldest_wait_s']:.1f}",
            self._rate(replica, load, unit),
            f"{batches:,}",
            mean,
        )

    def _rate(self, replica: str, load: dict[str, Any], unit: str) -> str:
        before = self._before.get(replica)
        if before is None or self._at_s <= self._before_s:
            return ""
        done = load["cost_done"] - before["cost_done"]
        return f"{done / (self._at_s - self._before_s):,.0f}{unit}"


def replica_table(deployed: ApplicationState, figures: ReplicaFigures) -> Table:
    """Make a row for each replica, and one for a deployment that has none."""
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, no_wrap=True, vertical="bottom")
    for name in _FIGURES:
        table.add_column(name, no_wrap=True, justify="right")
    for one in deployed.deployments:
        unit = _UNIT_OF.get(STAGE_OF_DEPLOYMENT.get(one.name, ""), "")
        for replica in one.each or (ReplicaState("none", f"of {one.wanted}", ""),):
            table.add_row(
                one.name,
                replica.id,
                replica.node_ip,
                replica.state.lower(),
                *figures.row(replica.id, unit),
            )
    return table
