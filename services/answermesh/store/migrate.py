"""Migrations: numbered SQL files, forward only, each applied once, in its own transaction, by one process at a time.

What is applied is written down in `answermesh.migrations` with the SHA-256 of its text. A file that changed after it
was applied, a file older than the newest applied one, and a database newer than this program are refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

from answermesh.errors import Failure, Reason
from answermesh.store import prerequisites
from answermesh.store.limits import SCHEMA

# "answermes" in ASCII: the advisory lock that migrating processes of one database queue for.
_LOCK = 0x616E73776572_6D65
# Building an index over a large table is the slowest migration there is; others wait for it to end.
_LOCK_WAIT_S = 300
_FILE = re.compile(r"([0-9]{4})_([a-z][a-z0-9_]*)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of the folder `migrations`."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Digest of the text, in lower-case hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Applied:
    """One row of the table `migrations`."""

    number: int
    name: str
    sha256: str


def shipped() -> list[Migration]:
    """The migrations of this program, by rising number."""
    folder = files(__package__).joinpath("migrations")
    found = [(match, file) for file in folder.iterdir() if (match := _FILE.fullmatch(file.name))]
    migrations = [Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")) for match, file in found]
    migrations.sort(key=lambda migration: migration.number)
    numbers = [migration.number for migration in migrations]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"two migrations have the same number: {numbers}")
    return migrations


def pending(known: Sequence[Migration], applied: Sequence[Applied]) -> list[Migration]:
    """The migrations that are left to apply, by rising number.

    Raises Failure(WRONG_STATE) for a database whose history is not the beginning of ours.
    """
    ours = {migration.number: migration for migration in known}
    newest = max((row.number for row in applied), default=0)
    for row in applied:
        if row.number not in ours:
            message = (
                f"the database is newer than this program: it has migration {row.number:04}_{row.name}, "
                f"this program ends at {max(ours, default=0):04}; run the newer answermesh, or restore an older backup."
            )
            raise Failure(Reason.WRONG_STATE, message)
        if ours[row.number].sha256 != row.sha256:
            message = (
                f"migration {row.number:04}_{row.name} was changed after it was applied to this database; "
                "restore the file as it was released, and put the change into a new migration."
            )
            raise Failure(Reason.WRONG_STATE, message)
    done = {row.number for row in applied}
    left = [migration for migration in known if migration.number not in done]
    if left and left[0].number < newest:
        message = (
            f"migration {left[0].number:04}_{left[0].name} is older than {newest:04}, which is applied already; "
            f"migrations only go forward: give it a number above {newest:04}."
        )
        raise Failure(Reason.WRONG_STATE, message)
    return left


async def migrate(connection: asyncpg.Connection[asyncpg.Record], known: Sequence[Migration]) -> str:
    """Bring the database to the newest of `known`; the search path that its tables and types are found by.

    Any number of processes may do this at once. Cancelled or killed in between, it goes on at the next start.
    Raises Failure(WRONG_STATE) for a database that cannot be brought there, with what to do.
    """
    await connection.execute(f"SET lock_timeout = '{_LOCK_WAIT_S}s'")
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        search_path = await prerequisites.ensure(connection)
        await connection.execute("SELECT set_config('search_path', $1, false)", search_path)
        with prerequisites.explained(await connection.fetchval("SELECT quote_ident(session_user)")):
            for migration in pending(known, await _applied(connection)):
                await _apply(connection, migration)
        await prerequisites.check_role(connection)
        return search_path
    finally:
        # Where the connection was lost, the server has freed the lock with it.
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _applied(connection: asyncpg.Connection[asyncpg.Record]) -> list[Applied]:
    await connection.execute(
        f"""CREATE TABLE IF NOT EXISTS {SCHEMA}.migrations (
            number integer PRIMARY KEY,
            name text NOT NULL,
            sha256 text NOT NULL,
            applied_time timestamptz NOT NULL DEFAULT now()
        )"""
    )
    rows = await connection.fetch(f"SELECT number, name, sha256 FROM {SCHEMA}.migrations ORDER BY number")  # noqa: S608
    return [Applied(**row) for row in rows]


async def _apply(connection: asyncpg.Connection[asyncpg.Record], migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.sql)
        await connection.execute(
            f"INSERT INTO {SCHEMA}.migrations (number, name, sha256) VALUES ($1, $2, $3)",  # noqa: S608
            migration.number,
            migration.name,
            migration.sha256,
        )
