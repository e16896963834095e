"""One real cluster a run, for all folders but `autoscaler`, `bare`, `chaos`, `cut_off` and
`production`, which have their own. Its profile changes from folder to folder, each time in half a
minute or more: the order in pyproject.toml keeps those together that share one, and begins with
those that look at the clock."""

import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.serve.cluster import Cluster


@pytest.fixture(scope="session")
def any_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("winnow"))
    yield cluster
    cluster.winnow("down")


@pytest.fixture(scope="session")
def local(any_cluster: Cluster) -> Cluster:
    return any_cluster.use("local")


@pytest.fixture
def api(any_cluster: Cluster) -> Iterator[httpx.Client]:
    """A client of whatever profile is up, with the first tenant's key."""
    with any_cluster.client() as client:
        yield client


@pytest.fixture
def collection(api: httpx.Client) -> Iterator[str]:
    """An empty collection, dropped afterwards."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    assert api.put(f"/v1/collections/{name}").status_code == 201
    yield name
    api.delete(f"/v1/collections/{name}", headers={"x-confirm-delete": name})
