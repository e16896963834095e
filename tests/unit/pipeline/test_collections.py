"""Collections: what an upsert costs, and what it tells."""

from collections.abc import Sequence
from typing import Any

from deployments.batching.stage_status import StageStatus
from deployments.pipeline.collections import Collections
from deployments.request.deadline import Deadline
from deployments.stores.base import Namespace, Record
from tests.unit.pipeline.stand_ins import LONGEST, Stage, Stand, context


class Embedder(Stage):
    async def status(self, _: Deadline) -> StageStatus:
        return StageStatus("model", "model", 0, 0)


class Index:
    """Keeps the records of the last upsert."""

    def __init__(self) -> None:
        self.stored: Sequence[Record] = ()

    async def check(self, *_: object) -> None: ...

    async def upsert(self, _: Namespace, records: Sequence[Record], *__: object) -> None:
        self.stored = records


def collections(stand: Stand, index: Index) -> Collections:
    embedder: Any = stand.embed
    stored: Any = index
    return Collections(stand.pipeline(), embedder, stored, 1)


async def test_a_document_that_comes_twice_in_a_call_is_embedded_once() -> None:
    embedder, index = Embedder(), Index()
    stand = Stand(embed=embedder)
    records = [Record("a", "first", {}), Record("b", "other", {}), Record("a", "last", {})]
    await collections(stand, index).upsert("acme", "notes", records, context())
    assert [(one.id, one.text) for one in index.stored] == [("a", "last"), ("b", "other")]
    assert stand.encoder.read == 2


async def test_an_upsert_tells_which_of_the_stored_documents_were_cut() -> None:
    stand, long = Stand(embed=Embedder()), "w" * (LONGEST + 1)
    records = [Record("a", long, {}), Record("b", long, {}), Record("a", "short", {})]
    stored = await collections(stand, Index()).upsert("acme", "notes", records, context())
    assert (stored.documents, stored.truncated) == (2, ["b"])
