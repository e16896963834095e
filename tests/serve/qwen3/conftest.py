"""Everything in this folder needs the `tiny-qwen3` profile up; a collection of the other profile
is made first."""

import httpx
import pytest

from tests.serve.cluster import Cluster

LEFT_BEHIND = "left-behind"


@pytest.fixture(scope="session")
def tiny(any_cluster: Cluster) -> Cluster:
    with any_cluster.use("local").client() as client:
        made: httpx.Response = client.put(f"/v1/collections/{LEFT_BEHIND}")
        assert made.status_code in (200, 201)
    return any_cluster.use("tiny-qwen3")


@pytest.fixture(autouse=True)
def _profile(tiny: Cluster) -> None:
    assert tiny.url
