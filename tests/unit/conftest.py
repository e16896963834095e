from pathlib import Path

import pytest

from tests.unit.service import TestService


@pytest.fixture
def service(tmp_path: Path) -> TestService:
    return TestService(tmp_path)
