"""One connection outside the pool, for migrating and for listening."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import asyncpg

from answermesh.errors import Failure, Reason, invalid_field
from answermesh.store.faults import translated
from answermesh.store.limits import CLEAN_UP_TIMEOUT_S, CONNECT_TIMEOUT_S, RETRY_AFTER_S

# A server that replays its log after a crash says so; others start within this time.
_STARTING_WAIT_S = 15.0
_STARTING_POLL_S = 0.1


@asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection as the user that `dsn` names; closed on leaving.

    Waits for a server that says it is starting. Raises Failure(DATABASE_UNAVAILABLE) for one that does not answer,
    Failure(INVALID_FIELD) for a `dsn` that names nothing that can be logged in to.
    """
    connection = await _opened(dsn)
    try:
        yield connection
    finally:
        await close(connection)


async def close(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Say good-bye to the server, or drop the connection where that takes too long."""
    try:
        await connection.close(timeout=CLEAN_UP_TIMEOUT_S)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()


def place(dsn: str) -> str:
    """Where a database is, for messages: host and name, never the password."""
    url = urlsplit(dsn)
    host = url.hostname or parse_qs(url.query).get("host", ["the local socket"])[0]
    return f"{url.path.rpartition('/')[2] or 'the default database'} at {host}" + (f":{url.port}" if url.port else "")


async def _opened(dsn: str) -> asyncpg.Connection[asyncpg.Record]:
    give_up = asyncio.get_running_loop().time() + _STARTING_WAIT_S
    while True:
        try:
            with translated():
                return await _connected(dsn)
        except Failure as failure:
            starting = isinstance(failure.__cause__, asyncpg.CannotConnectNowError)
            if starting and asyncio.get_running_loop().time() < give_up:
                await asyncio.sleep(_STARTING_POLL_S)
                continue
            if failure.reason in (Reason.DATABASE_UNAVAILABLE, Reason.DEADLINE_EXCEEDED):
                message = f"no connection to the database {place(dsn)}; is it running, and is the address right?"
                raise Failure(Reason.DATABASE_UNAVAILABLE, message, retry_after_s=RETRY_AFTER_S) from failure
            raise


async def _connected(dsn: str) -> asyncpg.Connection[asyncpg.Record]:
    try:
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
        return connection
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise invalid_field("database_url", f"{place(dsn)} refuses this user, password or database name.") from error
    except (asyncpg.ClientConfigurationError, ValueError) as error:
        # The text of the address stays out of the message: it may hold a password.
        raise invalid_field("database_url", "must look like postgresql://user:password@host:5432/name.") from error
