"""One transaction of one tenant: a thin, typed wrapper of the connection that carries it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

from answermesh.store.faults import translated
from answermesh.store.limits import bounded_s

__all__ = ["Record", "Transaction"]

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")


class Transaction:
    """Statements on one connection, between BEGIN and COMMIT.

    Each statement is bounded by the call's deadline. Each raises Failure(DATABASE_UNAVAILABLE | OVERLOADED |
    STORAGE_FULL | DEADLINE_EXCEEDED); other errors of Postgres are faults of ours and stay what they are. After any of
    them the transaction can only end: Postgres refuses further statements. Cancelling a statement cancels it in the
    server too.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: PoolConnectionProxy[Record]) -> None:
        self._connection: PoolConnectionProxy[Record] | None = connection

    def end(self) -> None:
        """Part from the connection, which others may get now: from here on every statement raises RuntimeError."""
        self._connection = None

    async def fetch(self, sql: str, *args: object) -> list[Record]:
        """All rows."""
        with self._exchange() as connection:
            return await connection.fetch(sql, *args, timeout=bounded_s())

    async def fetchrow(self, sql: str, *args: object) -> Record | None:
        """The first row, or None where there is none."""
        with self._exchange() as connection:
            return await connection.fetchrow(sql, *args, timeout=bounded_s())

    async def fetchval(self, sql: str, *args: object) -> Any:
        """The first column of the first row, or None where there is none."""
        with self._exchange() as connection:
            return await connection.fetchval(sql, *args, timeout=bounded_s())

    async def execute(self, sql: str, *args: object) -> int:
        """The number of rows that the statement wrote or, for a SELECT, read; 0 for those that do neither."""
        with self._exchange() as connection:
            tag = await connection.execute(sql, *args, timeout=bounded_s())
        count = tag.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def executemany(self, sql: str, args: Iterable[Sequence[object]]) -> None:
        """Run the statement once for each row of `args`, pipelined: far fewer round trips than rows."""
        with self._exchange() as connection:
            await connection.executemany(sql, args, timeout=bounded_s())

    async def copy_records(self, table: str, columns: Sequence[str], records: Iterable[Sequence[object]]) -> None:
        """Append rows to a table, some ten thousand a second.

        By pipelined INSERT and not by COPY, which Postgres refuses on tables with row-level security.
        Raises ValueError for a name of a table or column that is no plain identifier.
        """
        for name in (table, *columns):
            if not _IDENTIFIER.fullmatch(name):
                raise ValueError(f"{name!r} is no identifier of lower-case letters, digits and underscores")
        values = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        await self.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})", records)  # noqa: S608

    @contextmanager
    def _exchange(self) -> Iterator[PoolConnectionProxy[Record]]:
        if self._connection is None:
            raise RuntimeError("the transaction has ended; its statements belong inside its `async with`")
        with translated(self._connection):
            yield self._connection
