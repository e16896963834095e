"""The stages as the Router sees them: calls to other deployments, under a deadline.

The only module that turns what Ray raises into our own errors. A call whose replica died is made
again on another, because every stage call may safely be made twice.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from deployments.deadline import Deadline
from deployments.errors import (
    DeadlineExceeded,
    InternalError,
    Overloaded,
    StageUnavailable,
    WinnowError,
)
from deployments.stage import Embeddings, StageStatus
from deployments.stores.base import Collection, Filter, Hit, Namespace, Page, Record
from deployments.token_rows import TokenRows

logger = logging.getLogger(__name__)

_ATTEMPTS = 3


class StageClient:
    """Calls one deployment by method name."""

    def __init__(self, stage: str, handle: DeploymentHandle[Any]) -> None:
        self._stage = stage
        self._handle = handle

    async def call(self, method: str, *args: Any, deadline: Deadline) -> Any:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._call_once(method, args, deadline.left_s())
            except (RayActorError, DeploymentUnavailableError):
                logger.warning("%s: a replica was lost (attempt %d)", self._stage, attempt)
        raise StageUnavailable(f"the {self._stage} stage has no healthy replica: try again shortly")

    async def _call_once(self, method: str, args: Sequence[Any], left_s: float) -> Any:
        response = getattr(self._handle, method).remote(*args)
        try:
            async with asyncio.timeout(left_s):
                return await response
        except TimeoutError:
            response.cancel()
            raise DeadlineExceeded(
                f"the {self._stage} stage did not answer in time: allow more with deadline_ms"
            ) from None
        except BackPressureError:
            raise Overloaded(f"the {self._stage} stage is full: try again shortly") from None
        except RayTaskError as failure:
            raise self._ours(failure) from None

    def _ours(self, failure: RayTaskError) -> WinnowError | RayActorError:
        cause = failure.cause
        if isinstance(cause, WinnowError | RayActorError):
            return cause
        logger.error("the %s stage failed", self._stage, exc_info=failure)
        return InternalError(f"the {self._stage} stage failed on this request")


class ModelStageClient(StageClient):
    async def status(self, deadline: Deadline) -> StageStatus:
        answer: StageStatus = await self.call("status", deadline=deadline)
        return answer


class EmbedClient(ModelStageClient):
    async def embed(self, rows: TokenRows, deadline: Deadline) -> Embeddings:
        answer: Embeddings = await self.call("embed", rows, deadline.left_s(), deadline=deadline)
        return answer


class RerankClient(ModelStageClient):
    async def rerank(self, rows: TokenRows, deadline: Deadline) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = await self.call(
            "rerank", rows, deadline.left_s(), deadline=deadline
        )
        return scores


class IndexClient(StageClient):
    """The methods are those of the Index deployment."""

    async def search(
        self,
        ns: Namespace,
        vector: NDArray[np.float32],
        k: int,
        where: Filter | None,
        fingerprint: str,
        deadline: Deadline,
    ) -> list[Hit]:
        hits: list[Hit] = await self.call(
            "search", ns, vector, k, where, fingerprint, deadline=deadline
        )
        return hits

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
        await self.call("drop", ns, deadline=deadline)

    async def check(self, ns: Namespace, fingerprint: str, deadline: Deadline) -> None:
        await self.call("check", ns, fingerprint, deadline=deadline)

    async def upsert(
        self, ns: Namespace, records: Sequence[Record], fingerprint: str, deadline: Deadline
    ) -> None:
        await self.call("upsert", ns, records, fingerprint, deadline=deadline)

    async def delete(
        self, ns: Namespace, ids: Sequence[str] | None, where: Filter | None, deadline: Deadline
    ) -> int:
        gone: int = await self.call("delete", ns, ids, where, deadline=deadline)
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
