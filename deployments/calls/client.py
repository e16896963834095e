"""Calls to another deployment, under a deadline.

The only module that turns what Ray raises into our own errors. A call whose replica died is made
again on another, if it may be made twice, until time is up. One that is answered with the failure
of an engine or a store is tried three times in all: it may be the reason, and a store that is away
is so for all replicas.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from deployments.batching.replica_load import ReplicaLoad
from deployments.errors import (
    DeadlineExceeded,
    EngineFailed,
    InternalError,
    NotBegun,
    Overloaded,
    PayloadTooLarge,
    StageUnavailable,
    StoreUnavailable,
    WinnowError,
)
from deployments.request.deadline import Deadline, within

logger = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
_MOST_FAILURES = 3

LOST = (RayActorError, DeploymentUnavailableError, StageUnavailable)
_FAILED = (EngineFailed, StoreUnavailable)


class StageClient:
    """Calls one deployment by method name."""

    def __init__(self, stage: str, handle: DeploymentHandle[Any]) -> None:
        self._stage = stage
        self._handle = handle

    @property
    def deployment_name(self) -> str:
        return self._handle.deployment_name

    async def call(self, method: str, *args: Any, deadline: Deadline) -> Any:
        """Call until a replica answers or time is up."""
        return await self.persist(
            lambda: self.call_once(method, *args, deadline=deadline), deadline
        )

    async def persist(
        self,
        attempt: Callable[[], Awaitable[T]],
        deadline: Deadline,
        again: tuple[type[Exception], ...] = LOST,
    ) -> T:
        """Attempt until it does not end in one of the errors `again`; StageUnavailable when time is
        up; the last error when an engine or a store has failed at it three times."""
        failures, pause_s = 0, _FIRST_PAUSE_S
        while True:
            try:
                return await attempt()
            except again as failure:
                failures += isinstance(failure, _FAILED)
                if failures >= _MOST_FAILURES or deadline.left_s() <= pause_s:
                    raise (failure if isinstance(failure, WinnowError) else self.lost()) from None
                logger.warning("%s: trying again after %s", self._stage, type(failure).__name__)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def call_once(self, method: str, *args: Any, deadline: Deadline) -> Any:
        """Call one replica. Raises a WinnowError, or RayActorError or DeploymentUnavailableError if
        it was lost."""
        response = getattr(self._handle, method).remote(*args)
        try:
            answer = await within(deadline, response)
        except (DeadlineExceeded, asyncio.CancelledError):
            response.cancel()
            raise
        except BackPressureError:
            raise Overloaded(f"the {self._stage} stage is full: try again shortly") from None
        except RayTaskError as failure:
            raise self._ours(failure) from None
        except grpc.RpcError as failure:
            raise self._transport(failure) from None
        if isinstance(answer, WinnowError):
            raise answer  # a refusal is returned, since Serve logs whatever is raised
        return answer

    async def call_if_alive(self, method: str, *args: Any, deadline: Deadline) -> Any:
        """Try once on a replica that takes the call, for work that may not be done twice."""
        while True:
            try:
                return await self.call_once(method, *args, deadline=deadline)
            except NotBegun:
                await within(deadline, asyncio.sleep(_FIRST_PAUSE_S))
            except (RayActorError, DeploymentUnavailableError):
                raise self.lost() from None

    async def ask_another(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, and where one of several replicas has no room, ask once more: Serve may choose
        another. Raises Overloaded if both refuse."""
        try:
            return await ask()
        except Overloaded as refusal:
            # Without a `unit_s` it was Serve that refused, for all replicas.
            if refusal.unit_s is None or len(self.running()) < 2:
                raise
            return await ask()

    async def loads(self, timeout_s: float) -> list[ReplicaLoad]:
        """The load of each replica that answers. Raises StageUnavailable if one is stuck."""
        if self.sleeps():
            return []
        response = self._handle.broadcast("load")
        try:
            answers = await response.results_async(timeout_s=timeout_s, return_exceptions=True)
        except (TimeoutError, DeploymentUnavailableError):
            raise self.lost() from None
        return [answer for answer in answers if isinstance(answer, ReplicaLoad)]

    def sleeps(self) -> bool:
        """Return whether the stage has scaled to zero, so that a call would start a replica.

        A handle that was never called knows nothing.
        """
        router = self._serves_router()
        if router is None or router._request_router is None:
            return False
        scaling = router._metrics_manager.autoscaling_config
        return scaling is not None and scaling.min_replicas == 0 and not self.running()

    def running(self) -> frozenset[str]:
        """Return the ids of the stage's running replicas; none if the handle was never called."""
        router = self._serves_router()
        if router is None or router._request_router is None:
            return frozenset()
        return frozenset(map(str, router._request_router.curr_replicas))

    def _serves_router(self) -> Any:
        """The router inside the handle; Serve has no public word for it (Ray 2.60)."""
        return getattr(getattr(self._handle, "_router", None), "_asyncio_router", None)

    def lost(self) -> StageUnavailable:
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
        return self.lost()
