"""A model stage as a Router calls it: what it is asked for, and what becomes of two models."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from deployments.autoscaling.arrivals import Arrivals
from deployments.calls.model_client import ModelStageClient
from deployments.config import CallLimits
from deployments.errors import (
    EngineFailed,
    NotBegun,
    Overloaded,
    RowFailed,
    StageUnavailable,
    WinnowError,
)
from deployments.request.deadline import Deadline
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from loadtest.simulate import virtual_time
from tests.whole.app import handle

_ME = Origin("me")
# Values of rows that begin with these ids.
VALUES = {7: np.nan, 8: np.inf, 9: 0.5}


class Replica:
    def __init__(self) -> None:
        self.models = ["one"]
        self.calls = 0
        self.refusal: WinnowError | None = None
        self.refusals: list[WinnowError] = []
        self.errors: list[Exception] = []

    async def embed(self, rows: TokenRows, *_: object) -> ModelOutput | WinnowError:
        self.calls += 1
        if self.refusals:
            return self.refusals.pop(0)
        if self.refusal:
            return self.refusal
        if self.errors:
            raise self.errors.pop(0)
        model = self.models[self.calls % len(self.models)]
        answer = [VALUES.get(row[0], 0.0) for row in rows]
        return ModelOutput.uncached(np.array(answer, np.float32)).with_fingerprint(model)


def client(replica: Replica, arrivals: Arrivals) -> ModelStageClient:
    limits = CallLimits(tokens=4, at_once=4)
    return ModelStageClient("embed", handle(replica), "", limits, arrivals)


def rows(count: int) -> TokenRows:
    return TokenRows.pack([[1, 2]] * count)


def test_work_counts_as_asked_for_whether_it_is_computed_or_refused() -> None:
    async def main() -> None:
        clock = asyncio.get_running_loop().time
        replica, arrivals = Replica(), Arrivals(clock)
        stage = client(replica, arrivals)
        await stage.compute(rows(5), Deadline.after(1, clock), _ME)
        replica.refusal = Overloaded("busy", retry_after_s=0.5, unit_s=0.01)
        with pytest.raises(Overloaded):
            await stage.compute(rows(5), Deadline.after(1, clock), _ME)
        calls = replica.calls
        with pytest.raises(Overloaded):
            stage.admit(10, Deadline.after(1, clock), _ME)
        assert replica.calls == calls
        assert arrivals.to_stats()["embed_default_tokens_per_s"] == 30

    virtual_time.run(main())


def _known(stage: ModelStageClient, replicas: int) -> None:
    """The handle of the stage knows of so many replicas."""
    known = SimpleNamespace(curr_replicas=dict.fromkeys(range(replicas)))
    router = SimpleNamespace(_asyncio_router=SimpleNamespace(_request_router=known))
    stage._handle._router = router  # type: ignore[assignment]


@pytest.mark.parametrize(("replicas", "asked"), [(1, 1), (2, 2)])
def test_what_one_of_several_replicas_refuses_another_may_take(replicas: int, asked: int) -> None:
    async def main() -> None:
        clock = asyncio.get_running_loop().time
        replica = Replica()
        stage = client(replica, Arrivals(clock))
        _known(stage, replicas)
        replica.refusals = [Overloaded("busy", retry_after_s=0.5, unit_s=0.01)]
        asking = stage.compute(rows(1), Deadline.after(1, clock), _ME)
        if asked == 2:
            await asking
            stage.admit(10, Deadline.after(1, clock), _ME)  # nothing is remembered of the first
        else:
            with pytest.raises(Overloaded):
                await asking
        assert replica.calls == asked
        replica.calls, replica.refusals = 0, []
        replica.refusal = Overloaded("busy", retry_after_s=0.5, unit_s=0.01)
        with pytest.raises(Overloaded):
            await stage.compute(rows(1), Deadline.after(10, clock), _ME)
        assert replica.calls == asked
        with pytest.raises(Overloaded):
            stage.admit(10, Deadline.after(1, clock), _ME)

    virtual_time.run(main())


def test_a_request_computed_by_two_models_is_computed_again() -> None:
    async def main() -> None:
        clock = asyncio.get_running_loop().time
        replica = Replica()
        replica.models = ["one", "two"]
        stage = client(replica, Arrivals(clock))
        computing = asyncio.create_task(stage.compute(rows(4), Deadline.after(10, clock), _ME))
        await asyncio.sleep(0.2)
        replica.models = ["two"]
        assert (await computing).fingerprint == "two"
        replica.models = ["one", "two"]
        with pytest.raises(StageUnavailable, match="changing to another model"):
            await stage.compute(rows(4), Deadline.after(3, clock), _ME)

    virtual_time.run(main())


@pytest.mark.parametrize("bad", [7, 8])
def test_a_row_without_an_answer_fails_its_own_request_and_is_named(bad: int) -> None:
    async def main() -> None:
        clock = asyncio.get_running_loop().time
        replica = Replica()
        stage = client(replica, Arrivals(clock))
        requests = [[1], [1], [1], [1], [9], [1, bad, bad], [9]]
        answers = await asyncio.gather(
            *(
                stage.compute(TokenRows.pack([[id] for id in ids]), Deadline.after(1, clock), _ME)
                for ids in requests
            ),
            return_exceptions=True,
        )
        assert replica.calls < len(requests), "some share a call"
        failure = answers.pop(5)
        assert isinstance(failure, RowFailed)
        assert (failure.row, failure.code) == (1, "row_failed")
        assert "embed stage could not compute row 1" in failure.message
        assert all(isinstance(answer, ModelOutput) for answer in answers)

    virtual_time.run(main())


def test_a_call_at_which_engines_fail_is_tried_three_times() -> None:
    async def main() -> None:
        clock = asyncio.get_running_loop().time
        replica = Replica()
        stage = client(replica, Arrivals(clock))
        replica.errors = [NotBegun("another model")] * 6 + [EngineFailed("gone")] * 2
        await stage.compute(rows(1), Deadline.after(30, clock), _ME)
        assert replica.calls == 9
        replica.errors = [EngineFailed("gone")] * 30
        with pytest.raises(EngineFailed):
            await stage.compute(rows(1), Deadline.after(30, clock), _ME)
        assert replica.calls == 9 + 3

    virtual_time.run(main())
