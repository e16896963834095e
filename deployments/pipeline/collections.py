"""Collections of a tenant: create, list, fill, read and delete.

Adds the tenant to every name, and the running embedder to every vector. Knows neither HTTP nor a
store: `index` answers for those.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from deployments.calls.index_client import IndexClient
from deployments.calls.model_client import ModelStageClient
from deployments.errors import NotFound, RowFailed
from deployments.pipeline.pipeline import Pipeline
from deployments.request.context import Context
from deployments.request.deadline import Deadline
from deployments.stores.base import Collection, Filter, Namespace, Page, Record
from deployments.stores.records import last_wins
from deployments.text.prompts import Cut


@dataclass(frozen=True, slots=True)
class Upserted:
    """The number of documents stored, the tokens embedded for them, and the ids of those that were
    embedded by their beginning alone."""

    documents: int
    tokens: int
    truncated: list[str]


@dataclass(frozen=True, slots=True)
class Collections:
    pipeline: Pipeline
    embedder: ModelStageClient
    index: IndexClient
    dimensions: int

    async def create(self, tenant: str, name: str, deadline: Deadline) -> bool:
        """Create a collection; True if it is new. Raises FingerprintMismatch if another model made
        its vectors."""
        running = await self.embedder.status(deadline)
        return await self.index.ensure(
            Namespace(tenant, name), self.dimensions, running.fingerprint, deadline
        )

    async def describe(self, tenant: str, name: str, deadline: Deadline) -> Collection:
        return await self.index.describe(Namespace(tenant, name), deadline)

    async def all(self, tenant: str, deadline: Deadline) -> list[Collection]:
        return await self.index.collections(tenant, deadline)

    async def drop(self, tenant: str, name: str, deadline: Deadline) -> None:
        await self.index.drop(Namespace(tenant, name), deadline)

    async def upsert(
        self,
        tenant: str,
        name: str,
        records: Sequence[Record],
        context: Context,
    ) -> Upserted:
        """Embed and store; returns once all is durable.

        A text longer than the model reads is embedded by its beginning and stored whole.
        """
        # Of two documents with one id the store keeps the last: the others cost nothing either.
        places = {record.id: place for place, record in enumerate(records)}
        records = last_wins(records)
        ns = Namespace(tenant, name)
        # First, because the embedder is the expensive part of an upsert that is refused.
        running = await self.embedder.status(context.deadline)
        await self.index.check(ns, running.fingerprint, context.deadline)
        texts = [record.text for record in records]
        try:
            embedded = await self.pipeline.embed_documents(texts, Cut(), context)
        except RowFailed as failure:  # it counts the rows that are left, the caller those it sent
            raise RowFailed.at(places[records[failure.row].id], "embed") from None
        kept = await self.pipeline.keep(texts, context)
        stored = [
            replace(record, vector=vector, tokens=tokens)
            for record, vector, tokens in zip(records, embedded.vectors, kept, strict=True)
        ]
        with context.timings.stage("store"):
            await self.index.upsert(ns, stored, embedded.fingerprint, context.deadline)
        truncated = [records[index].id for index in embedded.truncated]
        return Upserted(len(records), embedded.usage.tokens, truncated)

    async def count_new(
        self, tenant: str, name: str, ids: Sequence[str], deadline: Deadline
    ) -> int:
        """Return how many of the ids no document has."""
        return await self.index.count_new(Namespace(tenant, name), ids, deadline)

    async def get(
        self, tenant: str, name: str, ids: Sequence[str], deadline: Deadline
    ) -> list[Record | None]:
        return await self.index.get(Namespace(tenant, name), ids, deadline)

    async def get_one(self, tenant: str, name: str, id: str, deadline: Deadline) -> Record:
        [record] = await self.get(tenant, name, [id], deadline)
        if record is None:
            raise NotFound(f"collection '{name}' has no document '{id}'")
        return record

    async def scan(
        self, tenant: str, name: str, cursor: str | None, limit: int, deadline: Deadline
    ) -> Page:
        return await self.index.scan(Namespace(tenant, name), cursor, limit, deadline)

    async def delete(
        self,
        tenant: str,
        name: str,
        ids: Sequence[str] | None,
        where: Filter | None,
        deadline: Deadline,
    ) -> int:
        return await self.index.delete(Namespace(tenant, name), ids, where, deadline)
