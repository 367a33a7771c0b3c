"""What Postgres and asyncpg raise, as failures that a caller may be told.

connection refused, lost, cut by an administrator, server starting or stopping  → DATABASE_UNAVAILABLE, retry soon
too many connections at the server, or no memory                                → OVERLOADED, retry soon
disk full                                                                       → STORAGE_FULL
statement or lock timeout, client-side timeout                                  → DEADLINE_EXCEEDED
everything else                                                                 → stays: it is a fault of ours
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

from answermesh.errors import Failure, Reason
from answermesh.store.limits import RETRY_AFTER_S

_OVERLOADED = (asyncpg.TooManyConnectionsError, asyncpg.OutOfMemoryError)
_TIMED_OUT = (TimeoutError, asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError)
_UNAVAILABLE = (
    OSError,
    asyncpg.PostgresConnectionError,  # class 08, and asyncpg's own "connection was closed"
    asyncpg.OperatorInterventionError,  # class 57: shutdown, crash of another backend, still starting
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby that is not the primary yet, or no longer
    asyncpg.InternalClientError,  # the protocol broke off in the middle of a message
)


def failure_from(error: BaseException, *, lost: bool = False) -> Failure | None:
    """The failure that `error` stands for, or None where the error says something about our own code.

    `lost` says that the connection was closed: asyncpg has no class for an exchange on a connection that died since.
    """
    # Order matters: TimeoutError is an OSError, QueryCanceledError an OperatorInterventionError.
    if isinstance(error, asyncpg.DiskFullError):
        return Failure(Reason.STORAGE_FULL, "the database's disk is full; free space or enlarge the volume.")
    if isinstance(error, _OVERLOADED):
        message = "the database has no connection or no memory left; try again later, or give it more of them."
        return Failure(Reason.OVERLOADED, message, retry_after_s=RETRY_AFTER_S)
    if isinstance(error, _TIMED_OUT):
        return Failure(Reason.DEADLINE_EXCEEDED, "the database did not answer in the time that was left.")
    if lost or isinstance(error, _UNAVAILABLE):
        message = "the database cannot be reached; it may be restarting. `answermesh doctor` says more."
        return Failure(Reason.DATABASE_UNAVAILABLE, message, retry_after_s=RETRY_AFTER_S)
    return None


@contextmanager
def translated(connection: PoolConnectionProxy[Record] | None = None) -> Iterator[None]:
    """Within, what Postgres raises on `connection` becomes a Failure where there is one for it."""
    try:
        yield
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        lost = connection is not None and isinstance(error, asyncpg.InterfaceError) and is_closed(connection)
        if failure := failure_from(error, lost=lost):
            raise failure from error
        raise


def is_closed(connection: PoolConnectionProxy[Record]) -> bool:
    """Whether a connection that was not given back to the pool is lost."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True  # the pool takes a connection back by itself when it is lost
