"""A model stage as a Router sees it: rows in, the model's output back.

Knows no engine and no text: how requests share calls, when to call again, and when not to call.
"""

import asyncio
from typing import Any

from ray.serve.handle import DeploymentHandle

from deployments.autoscaling.arrivals import Arrivals, Stage
from deployments.batching.stage_status import StageStatus
from deployments.calls.call_batches import CallBatches
from deployments.calls.client import StageClient
from deployments.calls.hedging import Hedging
from deployments.calls.load_shedding import LoadShedding
from deployments.config import CallLimits
from deployments.errors import DeadlineExceeded, Overloaded, RowFailed, StageUnavailable
from deployments.request.deadline import Deadline, within
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows


class _TwoModels(StageUnavailable):
    """Parts of one request were computed by different models."""


class ModelStageClient(StageClient):
    """Calls the method of a model's deployment that is named as its stage.

    `contract` names the model whose tokens are sent. All that the stage is asked for is counted in
    `arrivals`, whose clock is that of the calls too.
    """

    def __init__(
        self,
        stage: Stage,
        handle: DeploymentHandle[Any],
        contract: str,
        calls: CallLimits,
        arrivals: Arrivals,
    ) -> None:
        super().__init__(stage, handle)
        self._name: Stage = stage
        self._contract = contract
        self._arrivals = arrivals
        self._batches = CallBatches(self._call_stage, calls.at_once, calls.tokens)
        self._call_tokens = calls.tokens
        self._shedding = LoadShedding()
        self._hedging = Hedging(arrivals.clock)
        self._status_hedging = Hedging(arrivals.clock)

    def admit(self, tokens: float, deadline: Deadline, origin: Origin) -> None:
        """Raises Overloaded if work of about so many tokens is sure to be refused."""
        try:
            self._shedding.check(tokens, deadline, origin)
        except Overloaded:
            self._arrivals.add(self._name, origin.lane, tokens)  # it is asked for all the same
            raise

    async def compute(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:
        """The output for `rows`, all by one model. Raises RowFailed for one without an answer, be
        it that the engine could not compute it or that its values are not finite."""
        self._arrivals.add(self._name, origin.lane, rows.total_tokens)
        return await self.persist(
            lambda: self._compute_once(rows, deadline, origin), deadline, again=(_TwoModels,)
        )

    async def status(self, deadline: Deadline) -> StageStatus:
        async def ask() -> StageStatus:
            answer: StageStatus = await self.call_once("status", deadline=deadline)
            return answer

        return await self.persist(lambda: self._status_hedging.first(ask), deadline)

    async def _compute_once(
        self, rows: TokenRows, deadline: Deadline, origin: Origin
    ) -> ModelOutput:
        try:
            output = await within(deadline, self._batches.submit(rows, deadline, origin))
        except Overloaded:
            # Its calls that were taken before one was refused.
            self._shedding.give_up(max(0, rows.total_tokens - self._call_tokens), origin)
            raise
        except (DeadlineExceeded, asyncio.CancelledError):
            self._shedding.give_up(rows.total_tokens, origin)
            raise
        if (row := output.first_failed()) is not None:
            raise RowFailed.at(row, self._stage)
        if not output.fingerprint:
            raise _TwoModels(
                f"the {self._stage} stage is changing to another model: try again shortly"
            )
        return output

    async def _call_stage(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:
        async def call() -> ModelOutput:
            left_s = deadline.left_s()
            called_s = self._arrivals.clock()
            answer: ModelOutput = await self.call_once(
                self._name, rows, left_s, origin, self._contract, deadline=deadline
            )
            return answer.placed(called_s, self._arrivals.clock())

        with self._shedding.noting(rows.total_tokens, deadline, origin):
            return await self.ask_another(
                lambda: self.persist(lambda: self._hedging.first(call), deadline)
            )
