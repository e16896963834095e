"""The work of a replica, under the name by which its batches are traced too."""

import os

from deployments.batching.batcher import Batcher, BatchLimits
from deployments.batching.replica_id import own_id
from deployments.batching.replica_load import ReplicaLoad
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows


async def _never(_: TokenRows) -> ModelOutput:
    raise AssertionError("nothing was submitted")


def test_a_replica_without_work_says_its_name_and_naught() -> None:
    batcher = Batcher(_never, lambda: 7.0, BatchLimits())
    assert ReplicaLoad.of(batcher) == ReplicaLoad(own_id(), 0, 0, 0.0, 0, 0)
    assert own_id() == str(os.getpid()), "outside of Serve"
