"""Whether a tenant's plan has room for more documents.

Knows neither HTTP nor a store. Upserts that run at the same time do not see one another: together
they may pass the limit by what they hold.
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
    """Raises QuotaExhausted if, with documents of these `ids`, the tenant had more than it may."""
    stored = sum(one.documents for one in await collections.all(tenant, deadline))
    wanted = list(dict.fromkeys(ids))
    if stored + len(wanted) <= max_documents:
        return
    replaced = await collections.get(tenant, collection, wanted, deadline)
    new = sum(record is None for record in replaced)
    if new and stored + new > max_documents:
        raise QuotaExhausted(
            f"the plan allows {max_documents} documents; {stored} are stored and {new} of these"
            " are new: delete some, or ask for a larger plan",
            param="documents",
        )
