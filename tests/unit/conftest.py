from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.service import TestService


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[TestService]:
    service = await TestService.open(tmp_path)
    yield service
    await service.close()
