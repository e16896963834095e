"""The connections to the database: a pool, whose connections are set up for searches.

Knows whether the database is away or merely busy, and nothing of collections.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from deployments.errors import Overloaded
from deployments.stores.postgres.failures import postgres_errors
from deployments.stores.postgres.schema import prepare
from deployments.stores.postgres.vectors import register_vectors

Connection = AsyncConnection[TupleRow]

_WAIT_S = 5.0
_PROBE_TIMEOUT_S = 2  # the least that libpq takes
_ARGUMENTS: dict[str, Any] = {
    "autocommit": True,
    # Every query is planned for its parameters: a generic plan knows neither filter nor k.
    "prepare_threshold": None,
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    # No keepalive is sent while a query is unacknowledged: it would be sent again for 15 minutes.
    "tcp_user_timeout": 15_000,
    "application_name": "winnow-index",
}
# Without an iterative scan a filtered search finds too little, and says nothing; `strict_order`
# leaves out what it finds late, and we order ourselves.
# A replica that is stuck amid a write would keep its rows from the others until it is killed.
_SETTINGS = """
    SET idle_in_transaction_session_timeout = '3s';
    SET hnsw.iterative_scan = relaxed_order;
    SET hnsw.ef_search = 200;
    SET jit = off;
"""


class Connections:
    """At most `size` connections to the database at `url`; writes use at most half of them.

    The first use checks the server, makes the schema and opens the pool, which binds itself to the
    running event loop. A connection that the server has closed is replaced before it is lent.
    """

    def __init__(self, url: str, size: int) -> None:
        # The control store's URL may name its driver.
        self._url = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)
        self._size = size
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._opening = asyncio.Lock()
        self._lent = 0
        self._probing: asyncio.Task[None] | None = None
        self._writes = asyncio.Semaphore(max(1, size // 2))

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """Lend a connection, outside a transaction. Raises our errors for psycopg's.

        Raises Overloaded if the others have all of them for too long.
        """
        async with postgres_errors():
            pool = await self._opened()
            try:
                async with pool.connection() as connection, self._counted():
                    yield connection
            except PoolTimeout as error:
                if self._lent == 0:  # there is none that could be busy
                    raise
                await self._probe()
                raise Overloaded(
                    "the index has more requests than it can take", retry_after_s=_WAIT_S
                ) from error

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self._lent += 1
        try:
            yield
        finally:
            self._lent -= 1

    async def _probe(self) -> None:
        """Raise OperationalError if the server is away: lent connections to it seem busy for as
        long as the network loses what they send. All that wait share one probe."""
        if self._probing is None:
            self._probing = asyncio.create_task(self._connect_once())
            self._probing.add_done_callback(self._probed)
        await asyncio.shield(self._probing)

    async def _connect_once(self) -> None:
        async with await self._connect(connect_timeout=_PROBE_TIMEOUT_S):
            return

    def _probed(self, probe: asyncio.Task[None]) -> None:
        self._probing = None
        if not probe.cancelled():
            probe.exception()  # known to whoever still waits; asyncio need not complain

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction that writes."""
        async with self._writes, self.lend() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Connection]:
        """Open a connection outside the pool, for work that takes long."""
        await self._opened()
        async with await self._connect() as connection:
            yield connection

    async def close(self) -> None:
        async with self._opening:
            if self._pool is not None:
                await self._pool.close()
                self._pool = None

    async def _opened(self) -> AsyncConnectionPool[Connection]:
        async with self._opening:
            if self._pool is None:
                async with await self._connect() as connection:
                    await prepare(connection)
                pool = AsyncConnectionPool(
                    self._url,
                    kwargs=_ARGUMENTS,
                    min_size=1,
                    max_size=self._size,
                    timeout=_WAIT_S,
                    # While it tries again, after ever longer pauses, no request makes it connect.
                    reconnect_timeout=_WAIT_S,
                    configure=_configure,
                    check=AsyncConnectionPool.check_connection,
                    open=False,
                )
                try:
                    await pool.open(wait=True, timeout=_WAIT_S)
                except BaseException:
                    await pool.close()
                    raise
                self._pool = pool
            return self._pool

    async def _connect(self, **other: int) -> Connection:
        return await AsyncConnection.connect(self._url, **_ARGUMENTS | other)


async def _configure(connection: Connection) -> None:
    await register_vectors(connection)
    # The extension's settings are unknown, and so unchecked, until its library is loaded.
    await connection.execute("SELECT '[1]'::vector")
    await connection.execute(_SETTINGS)
