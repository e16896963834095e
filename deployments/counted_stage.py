"""A model stage whose arrivals are counted on the way.

Stands behind the embedding cache: what that spares the stage is no work for it.
"""

from deployments.computed import Computed
from deployments.deadline import Deadline
from deployments.demand import Demand, Stage
from deployments.errors import Overloaded
from deployments.fair_queue import Origin
from deployments.pipeline import ModelStage
from deployments.token_rows import TokenRows


class CountedStage:
    """A ModelStage."""

    def __init__(self, name: Stage, stage: ModelStage, demand: Demand) -> None:
        self._name: Stage = name
        self._stage = stage
        self._demand = demand

    def turn_away(self, tokens: float, deadline: Deadline, origin: Origin) -> None:
        try:
            self._stage.turn_away(tokens, deadline, origin)
        except Overloaded:
            self._demand.add(self._name, origin.lane, tokens)  # it is asked for all the same
            raise

    async def compute(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> Computed:
        self._demand.add(self._name, origin.lane, rows.total_tokens)
        return await self._stage.compute(rows, deadline, origin)
