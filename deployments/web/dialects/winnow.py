"""Winnow's own routes: collections, documents and search.

Turns requests into calls of `collections` and `pipeline`, and their results into responses. Knows
neither Ray nor a store.
"""

from typing import Annotated

import orjson
from fastapi import APIRouter, Body, Header, Path, Query, Response

from deployments.errors import InvalidRequest
from deployments.pipeline.pipeline import Found, SearchPlan
from deployments.request.timings import Timings
from deployments.stores.base import Collection, Namespace, Record
from deployments.stores.filter_parser import parse_filter
from deployments.tenants.document_limit import DocumentLimit
from deployments.web.auth import Caller
from deployments.web.document_ids import DocumentId
from deployments.web.guarded_route import Guard
from deployments.web.schemas import (
    CollectionBody,
    CollectionList,
    CollectionName,
    DeleteRequest,
    DeleteResponse,
    DocumentPage,
    GetDocumentsRequest,
    GetDocumentsResponse,
    SearchRequest,
    SearchResponse,
    StoredDocument,
    UpsertRequest,
    UpsertResponse,
    Wire,
)
from deployments.web.service import Service

Name = Annotated[CollectionName, Path()]
Id = Annotated[DocumentId, Path()]
_CONFIRM = "x-confirm-delete"
Confirmation = Annotated[
    str | None, Header(alias=_CONFIRM, description="The name of the collection, once more.")
]


class CreateRequest(Wire):
    """Has no fields yet: a collection takes the model of the running embedder."""


def routes(service: Service, guarded: Guard) -> APIRouter:
    router = APIRouter()
    writes = APIRouter(route_class=guarded("write"))
    _add_collection_writes(writes, service)
    _add_document_writes(writes, service)
    reads = APIRouter(route_class=guarded("read"))
    _add_collection_reads(reads, service)
    _add_document_reads(reads, service)
    _add_search(reads, service)
    router.include_router(writes)
    router.include_router(reads)
    return router


def _add_collection_writes(router: APIRouter, service: Service) -> None:
    collections = service.collections

    @router.put(
        "/v1/collections/{name}", tags=["collections"], responses={201: {"model": CollectionBody}}
    )
    async def create(
        name: Name,
        caller: Caller,
        response: Response,
        body: Annotated[CreateRequest | None, Body()] = None,  # noqa: ARG001
    ) -> CollectionBody:
        """Create a collection: 201, or 200 if it exists; 409 if another model made its vectors."""
        deadline = service.deadline(caller)
        made = await collections.create(caller.tenant.id, name, deadline)
        response.status_code = 201 if made else 200
        return _collection(await collections.describe(caller.tenant.id, name, deadline))

    @router.delete("/v1/collections/{name}", status_code=204, tags=["collections"])
    async def drop(name: Name, caller: Caller, confirmation: Confirmation = None) -> None:
        """Delete a collection and its documents; 400 unless a header repeats its name.

        Some clients send the same path, without the header, for a document with the id `..`.
        """
        if confirmation != name:
            raise InvalidRequest(
                f"this would delete the collection '{name}' with all its documents: if that is what"
                f" is meant, send the header '{_CONFIRM}: {name}'; if it was a document, name it in"
                f" the body of POST /v1/collections/{name}/documents/delete"
            )
        await collections.drop(caller.tenant.id, name, service.deadline(caller))


def _add_collection_reads(router: APIRouter, service: Service) -> None:
    collections = service.collections

    @router.get("/v1/collections", tags=["collections"])
    async def list_all(caller: Caller) -> CollectionList:
        """List the caller's collections by name."""
        found = await collections.all(caller.tenant.id, service.deadline(caller))
        return CollectionList(collections=[_collection(one) for one in found])

    @router.get("/v1/collections/{name}", tags=["collections"])
    async def describe(name: Name, caller: Caller) -> CollectionBody:
        """Describe a collection: its number of documents and the model that made its vectors."""
        return _collection(
            await collections.describe(caller.tenant.id, name, service.deadline(caller))
        )


def _add_document_writes(router: APIRouter, service: Service) -> None:
    collections = service.collections
    limit = DocumentLimit(collections, lambda: service.admission.routers(), service.clock)

    @router.post("/v1/collections/{name}/documents", tags=["documents"])
    async def upsert(
        name: Name, body: UpsertRequest, caller: Caller, response: Response
    ) -> UpsertResponse:
        """Store documents, replacing those with the same id; returns when they are on disk."""
        records = [Record(doc.id, doc.text, doc.metadata) for doc in body.documents]
        context = service.context(caller, body.deadline_ms, "bulk")
        if caller.plan.documents is not None:
            await limit.check(
                caller.tenant.id,
                name,
                [record.id for record in records],
                caller.plan.documents,
                context.deadline,
            )
        stored = await collections.upsert(caller.tenant.id, name, records, context)
        response.headers["server-timing"] = server_timing(context.timings)
        return UpsertResponse(
            upserted=stored.documents, tokens=stored.tokens, truncated=stored.truncated
        )

    @router.post("/v1/collections/{name}/documents/delete", tags=["documents"])
    async def delete_many(name: Name, body: DeleteRequest, caller: Caller) -> DeleteResponse:
        """Delete documents by id or by metadata filter."""
        where = parse_filter(body.filter) if body.filter else None
        deleted = await collections.delete(
            caller.tenant.id, name, body.ids, where, service.deadline(caller)
        )
        return DeleteResponse(deleted=deleted)

    @router.delete("/v1/collections/{name}/documents/{id:path}", tags=["documents"])
    async def delete_one(name: Name, id: Id, caller: Caller) -> DeleteResponse:
        """Delete one document; `deleted` is 0 if it was not stored."""
        deleted = await collections.delete(
            caller.tenant.id, name, [id], None, service.deadline(caller)
        )
        return DeleteResponse(deleted=deleted)


def _add_document_reads(router: APIRouter, service: Service) -> None:
    collections = service.collections

    @router.post("/v1/collections/{name}/documents/get", tags=["documents"])
    async def get_many(
        name: Name, body: GetDocumentsRequest, caller: Caller
    ) -> GetDocumentsResponse:
        """Get documents by id, in the order of the ids."""
        records = await collections.get(caller.tenant.id, name, body.ids, service.deadline(caller))
        return GetDocumentsResponse(
            documents=[None if record is None else _document(record) for record in records]
        )

    @router.get("/v1/collections/{name}/documents", tags=["documents"])
    async def scan(
        name: Name,
        caller: Caller,
        cursor: Annotated[str | None, Query(max_length=1024)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> DocumentPage:
        """List all documents, a page at a time."""
        page = await collections.scan(
            caller.tenant.id, name, cursor, limit, service.deadline(caller)
        )
        return DocumentPage(
            documents=[_document(record) for record in page.records], cursor=page.cursor
        )

    @router.get("/v1/collections/{name}/documents/{id:path}", tags=["documents"])
    async def get_one(name: Name, id: Id, caller: Caller) -> StoredDocument:
        """Get one document."""
        return _document(
            await collections.get_one(caller.tenant.id, name, id, service.deadline(caller))
        )


def _add_search(router: APIRouter, service: Service) -> None:
    @router.post("/v1/search", response_model=SearchResponse, tags=["search"])
    async def search(body: SearchRequest, caller: Caller) -> Response:
        """Embed the query, retrieve `top_k` candidates, rerank them, return the best `top_n`."""
        plan = SearchPlan(
            ns=Namespace(caller.tenant.id, body.collection),
            query=body.query,
            top_k=body.top_k,
            top_n=body.top_n,
            where=parse_filter(body.filter) if body.filter else None,
            rerank=body.rerank,
            may_degrade=body.on_timeout == "retrieval_order",
            instruction=body.instruction,
        )
        context = service.context(caller, body.deadline_ms, "interactive")
        found = await service.pipeline.search(plan, context)
        caller.degraded = found.degraded
        timings = context.timings
        stages_ms = {name: round(ms, 3) for name, ms in timings.stages_ms.items()}
        answer = {
            "results": _results(found, body),
            **({"degraded": found.degraded} if found.degraded else {}),
            **_truncation(found),
            "usage": {
                "embed_tokens": found.embed.tokens,
                "rerank_tokens": found.rerank.tokens,
                "total_tokens": found.embed.tokens + found.rerank.tokens,
                "cached_tokens": found.embed.cached_tokens + found.rerank.cached_tokens,
                "candidates": found.candidates,
            },
            "timings_ms": stages_ms | {"total": round(timings.total_ms(), 3)},
        }
        return Response(
            orjson.dumps(answer),
            media_type="application/json",
            headers={"server-timing": server_timing(timings)},
        )


def server_timing(timings: Timings) -> str:
    """Return the Server-Timing header (W3C): each stage and the total, in milliseconds."""
    stages = [f"{name};dur={ms:.3f}" for name, ms in timings.stages_ms.items()]
    return ", ".join([*stages, f"total;dur={timings.total_ms():.3f}"])


def _truncation(found: Found) -> dict[str, object]:
    if not found.query_truncated and not found.candidates_truncated:
        return {}
    counts = {"query": found.query_truncated, "candidates": found.candidates_truncated}
    return {"truncated": counts}


def _results(found: Found, body: SearchRequest) -> list[dict[str, object]]:
    results: list[dict[str, object]] = []
    for result in found.results:
        fields: dict[str, object] = {"id": result.record.id}
        if "text" in body.include:
            fields["text"] = result.record.text
        if "metadata" in body.include:
            fields["metadata"] = result.record.metadata
        fields["relevance_score"] = result.relevance
        fields["retrieval_score"] = result.retrieval
        results.append(fields)
    return results


def _collection(collection: Collection) -> CollectionBody:
    return CollectionBody(
        name=collection.name,
        dimensions=collection.dimensions,
        fingerprint=collection.fingerprint,
        documents=collection.documents,
    )


def _document(record: Record) -> StoredDocument:
    return StoredDocument(id=record.id, text=record.text, metadata=record.metadata)
