"""The plan's limit on a tenant's stored documents, checked before an upsert.

Concurrent upserts do not see one another, so together they may exceed the limit by their own
documents. Knows neither HTTP nor a store.
"""

from collections.abc import Sequence

from deployments.errors import QuotaExhausted
from deployments.pipeline.collections import Collections
from deployments.request.deadline import Deadline


async def check_document_limit(
    collections: Collections,
    tenant: str,
    collection: str,
    ids: Sequence[str],
    max_documents: int,
    deadline: Deadline,
) -> None:
    """Raise QuotaExhausted if upserting documents of these `ids` would exceed `max_documents`."""
    stored = sum(held.documents for held in await collections.all(tenant, deadline))
    distinct = list(dict.fromkeys(ids))
    if stored + len(distinct) <= max_documents:
        return
    replaced = await collections.get(tenant, collection, distinct, deadline)
    new = sum(record is None for record in replaced)
    if new and stored + new > max_documents:
        raise QuotaExhausted(
            f"the plan allows {max_documents} documents; {stored} are stored and {new} of these"
            " are new: delete some, or ask for a larger plan",
            param="documents",
        )
