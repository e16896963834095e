"""One service for a whole module: a dialect keeps nothing between requests."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.unit.service import TestService


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestService]:
    service = await TestService.open(tmp_path_factory.mktemp("dialect"))
    yield service
    await service.close()
