"""What a database must offer before the first migration: version, extensions, a schema, rights to make them.

The embedded Postgres offers all of it. An external one may need its administrator once; the message says what to run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from answermesh.errors import Failure, Reason
from answermesh.store.limits import APP_ROLE, SCHEMA

# GRANT … WITH INHERIT FALSE, SET TRUE came with 16.
MINIMUM_VERSION = 16
# vector: embeddings. pg_trgm: names of entities that are nearly the same.
EXTENSIONS = ("vector", "pg_trgm")


async def ensure(connection: asyncpg.Connection[asyncpg.Record]) -> str:
    """Make the schema and the extensions where they are missing; the search path over them.

    Raises Failure(WRONG_STATE) for a server that is too old, lacks an extension, or grants too little.
    """
    version = connection.get_server_version()
    if version.major < MINIMUM_VERSION:
        message = f"the database is PostgreSQL {version.major}; answermesh needs {MINIMUM_VERSION} or newer."
        raise Failure(Reason.WRONG_STATE, message)
    with explained(await connection.fetchval("SELECT quote_ident(session_user)")):
        # Asked first: CREATE SCHEMA IF NOT EXISTS wants the right to create even where there is nothing to do.
        if not await connection.fetchval("SELECT to_regnamespace($1)::oid", SCHEMA):
            await connection.execute(f"CREATE SCHEMA {SCHEMA}")
        for extension in EXTENSIONS:
            if not await extension_schema(connection, extension):
                await _create_extension(connection, extension)
    schemas = [await extension_schema(connection, extension) for extension in EXTENSIONS]
    return ", ".join(dict.fromkeys([SCHEMA, *filter(None, schemas), "public"]))


async def extension_schema(connection: asyncpg.Connection[asyncpg.Record], extension: str) -> str | None:
    """The schema, quoted where needed, that an extension is installed in; None where it is not installed."""
    schema: str | None = await connection.fetchval(
        "SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = $1",
        extension,
    )
    return schema


async def check_role(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Raises Failure(WRONG_STATE) where row-level security would not bind the services' role."""
    row = await connection.fetchrow(
        """SELECT r.rolsuper OR r.rolbypassrls AS unbound,
                  EXISTS (SELECT FROM pg_class WHERE relnamespace = $2::regnamespace AND relowner = r.oid) AS owner
           FROM pg_roles r WHERE r.rolname = $1""",
        APP_ROLE,
        SCHEMA,
    )
    if row is None or row["unbound"] or row["owner"]:
        message = (
            f"the role {APP_ROLE} must exist, be neither SUPERUSER nor BYPASSRLS, and own no table of the schema "
            f"{SCHEMA}, or tenants are not kept apart; run: ALTER ROLE {APP_ROLE} NOSUPERUSER NOBYPASSRLS;"
        )
        raise Failure(Reason.WRONG_STATE, message)


async def can_notice_hang_up(connection: asyncpg.Connection[asyncpg.Record]) -> bool:
    """Whether the server can see, in the middle of a statement, that its client is gone: on Windows it cannot."""
    try:
        await connection.execute("SET client_connection_check_interval = '1s'")
    except asyncpg.InvalidParameterValueError:
        return False
    return True


@contextmanager
def explained(user: str) -> Iterator[None]:
    """Within, a missing right becomes a Failure(WRONG_STATE) that says what an administrator has to run."""
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        message = (
            f"the database user {user} may not set answermesh up; run once as an administrator of this database: "
            + " ".join(f"CREATE EXTENSION IF NOT EXISTS {extension};" for extension in EXTENSIONS)
            + f" CREATE ROLE {APP_ROLE} NOLOGIN; GRANT {APP_ROLE} TO {user} WITH INHERIT FALSE, SET TRUE;"
            f" CREATE SCHEMA {SCHEMA} AUTHORIZATION {user};"
        )
        raise Failure(Reason.WRONG_STATE, message) from error


async def _create_extension(connection: asyncpg.Connection[asyncpg.Record], extension: str) -> None:
    try:
        await connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension} WITH SCHEMA public")
    except (asyncpg.FeatureNotSupportedError, asyncpg.UndefinedFileError) as error:
        message = f"the database server lacks the extension {extension}; install its package there, then start again."
        raise Failure(Reason.WRONG_STATE, message) from error
