"""A cluster of several nodes, apart from the one that the other folders share."""

from collections.abc import Iterator

import pytest

from loadtest.nodes.cluster import AutoscaledCluster, group


@pytest.fixture(scope="package")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AutoscaledCluster]:
    """It is up, with the profile of `make nodes`."""
    large = group("pair", most=1, gpus=2) | {"labels": {"winnow/gpu": "large"}}
    stand = AutoscaledCluster(tmp_path_factory.mktemp("nodes"), [group("shared", most=2), large])
    stand.up()
    yield stand
    stand.down()
