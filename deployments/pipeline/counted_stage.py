"""A model stage whose arrivals are counted on the way.

Stands behind the embedding cache: what that spares the stage is no work for it.
"""

from deployments.autoscaling.arrivals import Arrivals, Stage
from deployments.errors import Overloaded
from deployments.pipeline.pipeline import ModelStage
from deployments.request.deadline import Deadline
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows


class CountedStage:
    """A ModelStage."""

    def __init__(self, name: Stage, stage: ModelStage, demand: Arrivals) -> None:
        self._name: Stage = name
        self._stage = stage
        self._demand = demand

    def turn_away(self, tokens: float, deadline: Deadline, origin: Origin) -> None:
        try:
            self._stage.turn_away(tokens, deadline, origin)
        except Overloaded:
            self._demand.add(self._name, origin.lane, tokens)  # it is asked for all the same
            raise

    async def compute(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:
        self._demand.add(self._name, origin.lane, rows.total_tokens)
        return await self._stage.compute(rows, deadline, origin)
