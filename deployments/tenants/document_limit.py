"""The plan's limit on a tenant's stored documents, checked before an upsert.

An exact count takes a store time in the number of documents, so it is not made for each upsert: to
the last one is added what was upserted since, here, and as much at each other Router. Only when
that reaches the limit, or is old, is counted again. Upserts at the same moment do not see one
another, so together they may exceed the limit by their own documents. Knows neither HTTP nor a
store.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cachetools import LRUCache

from deployments.errors import QuotaExhausted
from deployments.pipeline.collections import Collections
from deployments.request.deadline import Clock, Deadline

_VALID_S = 60.0
_MOST_TENANTS = 10_000


@dataclass(slots=True)
class _Count:
    """`counted` at `at_s`, and upserted here since: all taken to be new."""

    counted: int
    at_s: float
    added: int = 0


class DocumentLimit:
    """`routers` returns the number of Routers."""

    def __init__(self, collections: Collections, routers: Callable[[], int], clock: Clock) -> None:
        self._collections = collections
        self._routers = routers
        self._clock = clock
        self._counts: LRUCache[str, _Count] = LRUCache(_MOST_TENANTS)

    async def check(
        self,
        tenant: str,
        collection: str,
        ids: Sequence[str],
        max_documents: int,
        deadline: Deadline,
    ) -> None:
        """Raise QuotaExhausted if upserting documents of these `ids` would exceed
        `max_documents`."""
        distinct = list(dict.fromkeys(ids))
        count = self._counts.get(tenant)
        if count is None or not self._has_room(count, len(distinct), max_documents):
            count = await self._recount(tenant, deadline)
            if not self._has_room(count, len(distinct), max_documents):
                new = await self._collections.count_new(tenant, collection, distinct, deadline)
                _require_room(count.counted, new, max_documents)
        count.added += len(distinct)

    def _has_room(self, count: _Count, more: int, max_documents: int) -> bool:
        fresh = self._clock() - count.at_s < _VALID_S
        return fresh and count.counted + count.added * self._routers() + more <= max_documents

    async def _recount(self, tenant: str, deadline: Deadline) -> _Count:
        held = await self._collections.all(tenant, deadline)
        count = _Count(sum(one.documents for one in held), self._clock())
        self._counts[tenant] = count
        return count


def _require_room(stored: int, new: int, max_documents: int) -> None:
    if new and stored + new > max_documents:
        raise QuotaExhausted(
            f"the plan allows {max_documents} documents; {stored} are stored and {new} of these"
            " are new: delete some, or ask for a larger plan",
            param="documents",
        )
