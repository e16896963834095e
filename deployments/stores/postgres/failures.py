"""The server's errors, turned into ours."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import DataError, Error, InterfaceError, OperationalError, errors

from deployments.errors import (
    InvalidRequest,
    Overloaded,
    StorageFull,
    StoreUnavailable,
    WinnowError,
)

# How the client, the server's encoding and its JSON refuse a NUL character.
_NUL_STATES = (None, "22021", "22P05")


class CollectionGone(Exception):
    """The collection was dropped since its row was read; it may have been created again."""


@asynccontextmanager
async def postgres_errors() -> AsyncIterator[None]:
    """Turn psycopg's errors into ours, and that of a missing table into CollectionGone."""
    try:
        yield
    except errors.UndefinedTable as error:
        raise CollectionGone from error
    except Error as error:
        ours = _ours(error)
        if ours is None:
            raise
        raise ours from error


def _ours(error: Error) -> WinnowError | None:
    match error:
        case errors.DiskFull():
            return StorageFull("the index has no space left")
        # It was cancelled by the server's `statement_timeout` or an administrator: our own
        # cancellations end with CancelledError.
        case errors.TooManyConnections() | errors.QueryCanceled():
            return Overloaded("the index has more requests than it can take")
        case (
            OperationalError()
            | InterfaceError()
            | errors.ReadOnlySqlTransaction()
            | errors.IdleInTransactionSessionTimeout()  # this process was stuck amid a transaction
        ):
            return StoreUnavailable("the index does not answer")
        case DataError() if error.sqlstate in _NUL_STATES:
            return InvalidRequest("a string holds a NUL character, which the index cannot keep")
        case _:
            return None
