"""The stages as the Router sees them: calls to other deployments, under a deadline.

The only module that turns what Ray raises into our own errors. A call whose replica died is made
again on another, if it may be made twice.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from deployments.batching.stage_status import StageStatus
from deployments.calls.call_batches import CallBatches
from deployments.calls.hedging import Hedging
from deployments.calls.load_shedding import Refusals
from deployments.calls.search_batches import Gatherer, Limits
from deployments.config import CallLimits
from deployments.errors import (
    DeadlineExceeded,
    InternalError,
    NotBegun,
    Overloaded,
    PayloadTooLarge,
    StageUnavailable,
    WinnowError,
)
from deployments.request.deadline import Deadline, within
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from deployments.stores.base import (
    Collection,
    Filter,
    Hit,
    IndexSearch,
    Namespace,
    Page,
    Record,
    SearchOutcome,
)

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
# One is answered while the next travels.
_SEARCHES = Limits(calls=16, calls_a_tenant=2, questions=64)

_LOST = (RayActorError, DeploymentUnavailableError, StageUnavailable)


class StageClient:
    """Calls one deployment by method name."""

    def __init__(self, stage: str, handle: DeploymentHandle[Any]) -> None:
        self._stage = stage
        self._handle = handle

    async def call(self, method: str, *args: Any, deadline: Deadline) -> Any:
        """Call until a replica answers or time is up."""
        return await self.persist(
            lambda: self._call_once(method, *args, deadline=deadline), deadline
        )

    async def persist(self, attempt: Callable[[], Awaitable[Any]], deadline: Deadline) -> Any:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await attempt()
            except _LOST as lost:
                logger.warning("%s: a replica was lost: %s", self._stage, type(lost).__name__)
            if deadline.left_s() <= pause_s:
                raise self._lost()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _call_once(self, method: str, *args: Any, deadline: Deadline) -> Any:
        response = getattr(self._handle, method).remote(*args)
        try:
            return await within(deadline, response)
        except (DeadlineExceeded, asyncio.CancelledError):
            response.cancel()
            raise
        except BackPressureError:
            raise Overloaded(f"the {self._stage} stage is full: try again shortly") from None
        except RayTaskError as failure:
            raise self._ours(failure) from None
        except grpc.RpcError as failure:
            raise self._transport(failure) from None

    async def call_if_alive(self, method: str, *args: Any, deadline: Deadline) -> Any:
        """One try that is begun, for what would answer otherwise when done a second time."""
        while True:
            try:
                return await self._call_once(method, *args, deadline=deadline)
            except NotBegun:
                await within(deadline, asyncio.sleep(_FIRST_PAUSE_S))
            except (RayActorError, DeploymentUnavailableError):
                raise self._lost() from None

    def _lost(self) -> StageUnavailable:
        return StageUnavailable(
            f"the {self._stage} stage has no healthy replica: try again shortly"
        )

    def _ours(self, failure: RayTaskError) -> WinnowError | RayActorError:
        cause = failure.cause
        if isinstance(cause, WinnowError | RayActorError):
            return cause
        logger.error("the %s stage failed", self._stage, exc_info=failure)
        return InternalError(f"the {self._stage} stage failed on this request")

    def _transport(self, failure: grpc.RpcError) -> WinnowError:
        if failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return PayloadTooLarge(
                f"the answer of the {self._stage} stage is too large: ask for less at once"
            )
        logger.error("the %s stage was cut off", self._stage, exc_info=failure)
        return self._lost()


class ModelStageClient(StageClient):
    """Calls the `method` of a deployment that computes rows with a model.

    `contract` names the model whose tokens are sent.
    """

    def __init__(
        self,
        stage: str,
        handle: DeploymentHandle[Any],
        method: str,
        contract: str,
        calls: CallLimits,
    ) -> None:
        super().__init__(stage, handle)
        self._method = method
        self._contract = contract
        self._packer = CallBatches(self._call_stage, calls.at_once, calls.tokens)
        self._refusals = Refusals()
        self._hedge = Hedging(time.monotonic)
        self._status_hedge = Hedging(time.monotonic)

    def turn_away(self, tokens: float, deadline: Deadline, origin: Origin) -> None:
        self._refusals.check(tokens, deadline, origin)

    async def compute(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:
        """The model's results of `rows`, all by one model."""
        computed: ModelOutput = await self.persist(
            lambda: self._compute_once(rows, deadline, origin), deadline
        )
        return computed

    async def status(self, deadline: Deadline) -> StageStatus:
        answer: StageStatus = await self.persist(
            lambda: self._status_hedge.first(lambda: self._call_once("status", deadline=deadline)),
            deadline,
        )
        return answer

    async def _compute_once(
        self, rows: TokenRows, deadline: Deadline, origin: Origin
    ) -> ModelOutput:
        computed = await within(deadline, self._packer.submit(rows, deadline, origin))
        if not computed.fingerprint:
            raise StageUnavailable(
                f"the {self._stage} stage is changing to another model: try again shortly"
            )
        return computed

    async def _call_stage(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:
        async def call() -> ModelOutput:
            left_s = deadline.left_s()
            answer: ModelOutput | WinnowError = await self._call_once(
                self._method, rows, left_s, origin, self._contract, deadline=deadline
            )
            if isinstance(answer, WinnowError):
                raise answer
            return answer

        try:
            computed: ModelOutput = await self.persist(lambda: self._hedge.first(call), deadline)
        except Overloaded as refusal:
            raise self._refusals.note(refusal, rows.total_tokens, deadline, origin) from None
        return computed


class IndexClient(StageClient):
    """The methods are those of the Index deployment."""

    def __init__(self, stage: str, handle: DeploymentHandle[Any]) -> None:
        super().__init__(stage, handle)
        self._searches: Gatherer[IndexSearch, list[Hit] | None] = Gatherer(
            stage, self._search, _SEARCHES
        )

    def turn_away(self, deadline: Deadline, origin: Origin) -> None:
        self._searches.turn_away(deadline, origin)

    async def search(self, search: IndexSearch, deadline: Deadline, origin: Origin) -> list[Hit]:
        hits = await within(deadline, self._searches.ask(search, deadline, origin))
        if hits is not None:
            return hits
        [alone] = await self._search([search], deadline)
        if isinstance(alone, WinnowError):
            raise alone
        return alone or []

    async def _search(
        self, searches: Sequence[IndexSearch], deadline: Deadline
    ) -> list[SearchOutcome]:
        answers: list[SearchOutcome] = await self.call("search", searches, deadline=deadline)
        return answers

    async def ensure(
        self, ns: Namespace, dimensions: int, fingerprint: str, deadline: Deadline
    ) -> bool:
        made: bool = await self.call("ensure", ns, dimensions, fingerprint, deadline=deadline)
        return made

    async def describe(self, ns: Namespace, deadline: Deadline) -> Collection:
        found: Collection = await self.call("describe", ns, deadline=deadline)
        return found

    async def collections(self, tenant: str, deadline: Deadline) -> list[Collection]:
        found: list[Collection] = await self.call("collections", tenant, deadline=deadline)
        return found

    async def drop(self, ns: Namespace, deadline: Deadline) -> None:
        await self.call_if_alive("drop", ns, deadline=deadline)

    async def check(self, ns: Namespace, fingerprint: str, deadline: Deadline) -> None:
        await self.call("check", ns, fingerprint, deadline=deadline)

    async def upsert(
        self, ns: Namespace, records: Sequence[Record], fingerprint: str, deadline: Deadline
    ) -> None:
        await self.call("upsert", ns, records, fingerprint, deadline=deadline)

    async def delete(
        self, ns: Namespace, ids: Sequence[str] | None, where: Filter | None, deadline: Deadline
    ) -> int:
        gone: int = await self.call_if_alive("delete", ns, ids, where, deadline=deadline)
        return gone

    async def get(
        self, ns: Namespace, ids: Sequence[str], deadline: Deadline
    ) -> list[Record | None]:
        found: list[Record | None] = await self.call("get", ns, ids, deadline=deadline)
        return found

    async def scan(self, ns: Namespace, cursor: str | None, limit: int, deadline: Deadline) -> Page:
        page: Page = await self.call("scan", ns, cursor, limit, deadline=deadline)
        return page

    async def status(self, deadline: Deadline) -> str:
        durability: str = await self.call("status", deadline=deadline)
        return durability
