"""The store of one process: one pool of connections that run as a role bound to one tenant at a time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import Any, Self

import asyncpg
from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

from answermesh.errors import Failure, Reason
from answermesh.store import migrate, prerequisites, vector
from answermesh.store.faults import is_closed, translated
from answermesh.store.limits import (
    ACQUIRE_TIMEOUT_S,
    CLEAN_UP_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    IDLE_IN_TRANSACTION_TIMEOUT_S,
    RETRY_AFTER_S,
    bounded_s,
    server_settings,
)
from answermesh.store.opening import connect
from answermesh.store.transaction import Transaction
from answermesh.store.wakeups import Wakeups, listening

# A connection that rests longer is closed; the pool opens the next one on demand.
_IDLE_CONNECTION_S = 300.0
_SETTING = re.compile(r"[a-z_.]+")
_NONE: Mapping[str, str] = MappingProxyType({})


class Store:
    """Transactions and wake-ups over one database."""

    def __init__(self, dsn: str, pool: asyncpg.Pool[Record]) -> None:
        self._dsn = dsn
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def open(
        cls, dsn: str, *, pool_size: int = 4, idle_in_transaction_s: float = IDLE_IN_TRANSACTION_TIMEOUT_S
    ) -> AsyncIterator[Self]:
        """A store over a database that is migrated to the newest schema first; closed on leaving.

        A process that stands still for `idle_in_transaction_s` in a transaction loses it, with all locks.
        Waits some seconds for a server that is still starting. Raises Failure(DATABASE_UNAVAILABLE) for one that cannot
        be reached, Failure(WRONG_STATE) for one that answermesh cannot use, Failure(INVALID_FIELD) for a bad `dsn`.
        """
        async with connect(dsn) as connection:
            with translated():
                search_path = await migrate.migrate(connection, migrate.shipped())
                vector_schema = await vector.schema(connection)
                hang_up_noticed = await prerequisites.can_notice_hang_up(connection)

        async def init(connection: asyncpg.Connection[Record]) -> None:
            await vector.add_codec(connection, vector_schema)

        pool: asyncpg.Pool[Record] = asyncpg.create_pool(
            dsn,
            # Opened on first use, so that a database that restarts just now fails calls and not the start.
            min_size=0,
            max_size=pool_size,
            max_inactive_connection_lifetime=_IDLE_CONNECTION_S,
            init=init,
            # A round trip saved after each transaction: the next one begins with it.
            reset=_left_to_begin,
            server_settings=server_settings(
                search_path, hang_up_noticed=hang_up_noticed, idle_in_transaction_s=idle_in_transaction_s
            ),
            timeout=CONNECT_TIMEOUT_S,
        )
        await pool
        try:
            yield cls(dsn, pool)
        finally:
            await _close(pool)

    @asynccontextmanager
    async def transaction(self, tenant: str, settings: Mapping[str, str] = _NONE) -> AsyncIterator[Transaction]:
        """One transaction that sees and writes rows of `tenant` only: committed on leaving, rolled back on an error.

        `settings` are those of Postgres that hold within it, as names and values in plain small letters.
        When it has been left without an error, what it wrote is on disk. When COMMIT itself fails or is cancelled, it
        may or may not be. Raises Failure(OVERLOADED) where no connection gets free in time, and what Transaction
        raises.
        """
        if not tenant:
            raise ValueError("a transaction needs a tenant")
        begin = _begin(tenant, settings)
        connection = await self._acquire()
        try:
            try:
                with translated(connection):
                    await connection.execute(begin, timeout=bounded_s())
                transaction = Transaction(connection)
                try:
                    yield transaction
                finally:
                    transaction.end()
                with translated(connection):
                    tag = await connection.execute("COMMIT", timeout=bounded_s())
                if tag != "COMMIT":
                    # Postgres answers ROLLBACK, without an error, where an earlier statement failed and its error was
                    # caught.
                    raise RuntimeError("nothing was committed: a statement failed before, and its error was swallowed")
            except BaseException:
                await _roll_back(connection)
                raise
        finally:
            await _release(self._pool, connection)

    def listen(self, channel: str) -> AbstractAsyncContextManager[Wakeups]:
        """Notifications on a channel, over a connection of its own that repairs itself: see store.wakeups."""
        return listening(self._dsn, channel)

    async def _acquire(self) -> PoolConnectionProxy[Record]:
        timeout_s = bounded_s(ACQUIRE_TIMEOUT_S)
        with translated():
            try:
                return await self._pool.acquire(timeout=timeout_s)
            except TimeoutError as error:
                if timeout_s < ACQUIRE_TIMEOUT_S:
                    raise
                if self._pool.get_size() < self._pool.get_max_size():
                    message = f"the database did not accept a connection within {CONNECT_TIMEOUT_S:g} s."
                    raise Failure(Reason.DATABASE_UNAVAILABLE, message, retry_after_s=RETRY_AFTER_S) from error
                message = (
                    f"all {self._pool.get_max_size()} database connections of this process were busy for "
                    f"{ACQUIRE_TIMEOUT_S:g} s; try again later."
                )
                raise Failure(Reason.OVERLOADED, message, retry_after_s=RETRY_AFTER_S) from error


def _begin(tenant: str, settings: Mapping[str, str]) -> str:
    """Begins a transaction of a tenant, in one round trip: the simple protocol takes several statements, but no
    parameters, so the name goes in hexadecimal, in which nothing can be quoted wrongly. Whatever an earlier transaction
    may have set for the session is forgotten first."""
    values = [f"set_config('app.tenant', convert_from(decode('{tenant.encode().hex()}', 'hex'), 'UTF8'), true)"]
    for name, value in settings.items():
        if not _SETTING.fullmatch(name) or not _SETTING.fullmatch(value):
            raise ValueError(f"{name} = {value!r} is no setting in plain small letters")
        values.append(f"set_config('{name}', '{value}', true)")
    return f"RESET ALL; BEGIN; SELECT {', '.join(values)}"


async def _left_to_begin(connection: asyncpg.Connection[Record]) -> None:
    pass


async def _roll_back(connection: PoolConnectionProxy[Record]) -> None:
    if is_closed(connection):
        return
    try:
        # Waits for the cancellation of a running statement as well, which asyncpg has asked the server for.
        await connection.execute("ROLLBACK", timeout=CLEAN_UP_TIMEOUT_S)
    except BaseException as error:
        # Not known to be clean, so nobody may have it again; the pool opens another one.
        if not is_closed(connection):
            connection.terminate()
        if isinstance(error, asyncio.CancelledError):
            raise


async def _release(pool: asyncpg.Pool[Any], connection: PoolConnectionProxy[Record]) -> None:
    try:
        await pool.release(connection, timeout=CLEAN_UP_TIMEOUT_S)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        # The connection was lost in its reset; the pool has dropped it, and the transaction has ended before.
        return


async def _close(pool: asyncpg.Pool[Any]) -> None:
    try:
        async with asyncio.timeout(CLEAN_UP_TIMEOUT_S):
            await pool.close()
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        pool.terminate()
