"""Everything in this folder needs the `local` profile up."""

import pytest

from tests.serve.cluster import Cluster


@pytest.fixture(autouse=True)
def _profile(local: Cluster) -> None:
    assert local.url
