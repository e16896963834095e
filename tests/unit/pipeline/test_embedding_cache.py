"""The embed stage with a memory, before a stage that counts and a cache that is a dict."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.errors import Overloaded, RowFailed
from deployments.pipeline import embedding_cache
from deployments.pipeline.embedding_cache import CachedEmbedStage
from deployments.request.deadline import Deadline
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

_ME = Origin("me", "interactive")


class Memory:
    def __init__(self) -> None:
        self.held: dict[bytes, NDArray[np.float32]] = {}
        self.writes = 0

    def get(self, keys: Sequence[bytes]) -> list[NDArray[np.float32] | None]:
        return [self.held.get(key) for key in keys]

    def put(self, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        self.held.update(vectors)
        self.writes += 1


BAD = [13]


class Stage:
    """A row's vector is its tokens' sum and the number of the model. It has none for BAD."""

    def __init__(self) -> None:
        self.seen: list[list[list[int]]] = []
        self.model = 1
        self.failures = 0

    def admit(self, tokens: float, deadline: Deadline, origin: Origin) -> None: ...

    async def compute(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:  # noqa: ARG002
        self.seen.append(list(rows))
        await asyncio.sleep(0.01)
        if self.failures:
            self.failures -= 1
            raise Overloaded("full")
        if BAD in list(rows):
            raise RowFailed.at(list(rows).index(BAD), "embed")
        values = np.array([[sum(row), self.model] for row in rows], np.float32)
        return ModelOutput.uncached(values).with_fingerprint(f"model-{self.model}")


class Bench:
    def __init__(self) -> None:
        self.stage, self.memory = Stage(), Memory()
        self.spared: list[int] = []
        self.embed = CachedEmbedStage(self.stage, self.memory, self.spared.append)

    async def ask(self, *rows: list[int], origin: Origin = _ME) -> ModelOutput:
        deadline = Deadline.after(10, time.monotonic)
        return await self.embed.compute(TokenRows.pack(rows), deadline, origin)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """It has learned which model answers."""
    monkeypatch.setattr(embedding_cache, "_WRITE_EVERY_S", 0.02)
    bench = Bench()
    await bench.ask([99])
    bench.stage.seen.clear()
    return bench


async def test_only_what_is_new_is_embedded(bench: Bench) -> None:
    await bench.ask([1, 2], [3])
    await asyncio.sleep(0.05)
    answer = await bench.ask([4], [1, 2], [4], [3])
    assert answer.values[:, 0].tolist() == [4, 3, 4, 3]
    assert answer.cached_tokens.tolist() == [0, 2, 1, 1]
    assert answer.fingerprint == "model-1"
    assert bench.stage.seen == [[[1, 2], [3]], [[4]]]
    assert bench.spared == [0, 4]


async def test_vectors_are_written_together_and_found_before(bench: Bench) -> None:
    await asyncio.gather(*(bench.ask([number]) for number in range(5)))
    assert not bench.memory.held
    assert (await bench.ask([4])).cached_tokens.tolist() == [1]
    await asyncio.sleep(0.1)
    assert (len(bench.memory.held), bench.memory.writes) == (5, 1)
    assert (await bench.ask([4])).cached_tokens.tolist() == [1]
    assert len(bench.stage.seen) == 5


async def test_equal_texts_at_once_are_embedded_once(bench: Bench) -> None:
    answers = await asyncio.gather(*(bench.ask([7], [n]) for n in range(5)))
    assert [answer.values[0, 0] for answer in answers] == [7] * 5
    assert sum(seen.count([7]) for seen in bench.stage.seen) == 1


async def test_who_waits_is_not_lost_with_who_failed(bench: Bench) -> None:
    bench.stage.failures = 1
    first, second = await asyncio.gather(bench.ask([7]), bench.ask([7]), return_exceptions=True)
    assert isinstance(first, Overloaded)
    assert isinstance(second, ModelOutput)
    assert second.values.tolist() == [[7, 1]]


async def test_a_failed_row_is_named_as_in_the_request_and_not_kept(bench: Bench) -> None:
    await bench.ask([1], [2])
    for _ in range(2):
        with pytest.raises(RowFailed) as failure:
            await bench.ask([1], [2], [3], [1], BAD, [4])
        assert failure.value.row == 4
        await asyncio.sleep(0.05)
    assert len(bench.memory.held) == 2
    answers = await asyncio.gather(bench.ask([5], BAD), bench.ask([5]), return_exceptions=True)
    assert isinstance(answers[1], ModelOutput)
    assert answers[1].values.tolist() == [[5, 1]]


async def test_who_waits_is_not_lost_with_who_left(bench: Bench) -> None:
    first = asyncio.create_task(bench.ask([7]))
    await asyncio.sleep(0)
    second = asyncio.create_task(bench.ask([7]))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).values.tolist() == [[7, 1]]


async def test_tenants_share_nothing(bench: Bench) -> None:
    await bench.ask([7])
    await asyncio.sleep(0.05)
    answer = await bench.ask([7], origin=Origin("you", "interactive"))
    assert answer.cached_tokens.tolist() == [0]
    assert len(bench.stage.seen) == 2


async def test_bulk_work_passes_by(bench: Bench) -> None:
    await bench.ask([7], origin=Origin("me", "bulk"))
    await asyncio.sleep(0.05)
    assert not bench.memory.held


async def test_another_model_answers_with_its_own_vectors(bench: Bench) -> None:
    await bench.ask([7])
    await asyncio.sleep(0.05)
    bench.stage.model = 2
    answer = await bench.ask([7], [8])
    assert answer.values.tolist() == [[7, 2], [8, 2]]
    assert answer.fingerprint == "model-2"
    await bench.ask([8])
    await asyncio.sleep(0.05)
    assert (await bench.ask([8])).values.tolist() == [[8, 2]]
    # Vectors of model 1 are found again only when it is back.
    bench.stage.model = 1
    await bench.ask([100])
    assert (await bench.ask([7])).values.tolist() == [[7, 1]]


async def test_a_search_waits_for_no_vector_of_a_later_lane(bench: Bench) -> None:
    """The other request may have thousands of texts to wait for, and a later deadline."""
    in_default = asyncio.create_task(bench.ask([1], [2], origin=Origin("me", "default")))
    await asyncio.sleep(0)
    await asyncio.gather(bench.ask([1]), in_default)
    assert bench.stage.seen == [[[1], [2]], [[1]]]


async def test_a_request_waits_for_the_vector_of_an_earlier_lane(bench: Bench) -> None:
    search = asyncio.create_task(bench.ask([1]))
    await asyncio.sleep(0)
    await asyncio.gather(bench.ask([1], [2], origin=Origin("me", "default")), search)
    assert bench.stage.seen == [[[1]], [[2]]]
