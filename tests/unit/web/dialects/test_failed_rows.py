"""A row that the model has no answer for is named by its place in the request, whatever was left
out before the model was asked."""

from typing import Any

import pytest

from deployments.batching.stage_status import StageStatus
from deployments.errors import RowFailed
from deployments.pipeline.collections import Collections
from deployments.request.deadline import Deadline
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from deployments.stores.base import Record
from deployments.web.dialects.documents import rank
from tests.unit.pipeline.stand_ins import Stage, Stand, context

_BAD = "bad!"


class Picky(Stage):
    """Has no answer for a row with an exclamation mark."""

    async def compute(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:
        for row, ids in enumerate(rows):
            if ord("!") in ids:
                raise RowFailed.at(row, "stage")
        return await super().compute(rows, deadline, origin)

    async def status(self, _: Deadline) -> StageStatus:
        return StageStatus("model", "model", 0, 0)


class Index:
    async def check(self, *_: object) -> None: ...


async def test_of_a_rerank_with_blank_documents() -> None:
    documents = ["", " ", "good", _BAD, "good"]
    with pytest.raises(RowFailed, match="rerank stage could not compute row 3 ") as failed:
        await rank(Stand(rerank=Picky()).pipeline(), "q", documents, None, context())
    assert failed.value.row == 3


async def test_of_an_upsert_with_an_id_twice() -> None:
    embedder: Any = Picky()
    index: Any = Index()
    given = Collections(Stand(embed=embedder).pipeline(), embedder, index, 1)
    documents = [("a", "first"), ("b", "other"), ("a", "last"), ("c", _BAD), ("b", "again")]
    records = [Record(id, text, {}) for id, text in documents]
    with pytest.raises(RowFailed, match="embed stage could not compute row 3 ") as failed:
        await given.upsert("acme", "notes", records, context())
    assert failed.value.row == 3
