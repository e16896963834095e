from collections.abc import Iterator

import pytest

from tests.whole.app import WholeApp


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> WholeApp:
    return WholeApp(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def url(whole: WholeApp) -> Iterator[str]:
    with whole.served() as url:
        yield url
