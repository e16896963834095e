"""The whole application on a real LanceDB index, with models that make nothing of a text."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from deployments.autoscaling.arrivals import Arrivals
from deployments.batching.stage_status import StageStatus
from deployments.calls.index_client import IndexClient
from deployments.calls.model_client import ModelStageClient
from deployments.config import IndexConfig
from deployments.index import Index
from deployments.pipeline.collections import Collections
from deployments.pipeline.pipeline import Pipeline
from deployments.request.deadline import Deadline
from deployments.request.origin import Origin
from deployments.rows.encoded_rows import EncodedRows
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from tests.unit.service import TestService
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, unit
from tests.whole.app import handle


class Encoder:
    """A token a text."""

    def text_tokens(self, texts: Sequence[str]) -> float:
        return len(texts)

    def pair_tokens(self, query: str, documents: Sequence[str]) -> float:  # noqa: ARG002
        return 2 * len(documents)

    async def queries(self, texts: Sequence[str], *_: object) -> EncodedRows:
        return EncodedRows(TokenRows.pack([[1]] * len(texts)))

    documents = queries

    async def pairs(self, query: str, documents: Sequence[str], *_: object) -> EncodedRows:  # noqa: ARG002
        return EncodedRows(TokenRows.pack([[1, 2]] * len(documents)))

    async def refuse_long(self, query: str, *_: object) -> None: ...
    def require_instruction(self, embed: bool, rerank: bool) -> None: ...

    async def keep(self, documents: Sequence[str], _: Origin) -> list[bytes]:
        return [b""] * len(documents)


class Idle:
    def admit(self, tokens: float, _: Deadline, __: Origin) -> None: ...


class Embedder(Idle):
    async def status(self, _: Deadline) -> StageStatus:
        return StageStatus("embedder", FINGERPRINT, 0, 0)

    async def compute(self, rows: TokenRows, _: Deadline, __: Origin) -> ModelOutput:
        vectors = np.tile(unit(1, *[0] * (DIMENSIONS - 1)), (len(rows), 1))
        return ModelOutput.uncached(vectors).with_fingerprint(FINGERPRINT)


class Reranker(Idle):
    async def compute(self, rows: TokenRows, _: Deadline, __: Origin) -> ModelOutput:
        return ModelOutput.uncached(np.full(len(rows), 0.5, np.float32)).with_fingerprint(
            FINGERPRINT
        )


@pytest.fixture
async def whole(tmp_path: Path) -> AsyncIterator[TestService]:
    index = Index(IndexConfig(directory=str(tmp_path / "index")))
    client = IndexClient("retrieve", handle(index))
    embedder = Embedder()
    pipeline = Pipeline(Encoder(), embedder, client, Reranker(), Arrivals(lambda: 0.0))
    collections = Collections(pipeline, cast(ModelStageClient, embedder), client, DIMENSIONS)
    service = await TestService.open(tmp_path, pipeline, collections)
    yield service
    await service.close()
    await index.__del__()
