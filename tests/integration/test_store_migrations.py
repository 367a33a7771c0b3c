"""Migrations on a real Postgres: many processes at once, changed files, foreign databases with few rights."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import asyncpg
import pytest

from answermesh.errors import Failure, Reason
from answermesh.store import Store, migrate, prerequisites
from answermesh.store.migrate import Migration, shipped

_numbers = itertools.count(1)


@pytest.fixture
async def empty_dsn(postgres_dsn: str) -> AsyncIterator[str]:
    """A database that nobody has migrated."""
    name = f"empty_{next(_numbers)}"
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(f"CREATE DATABASE {name}")
    before, _, query = postgres_dsn.partition("?")
    yield f"{before.rpartition('/')[0]}/{name}?{query}"
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


def as_administrator(dsn: str) -> str:
    return dsn.replace("postgresql://answermesh:", "postgresql://postgres:")


async def open_and_close(dsn: str) -> None:
    async with Store.open(dsn):
        pass


async def test_many_processes_may_migrate_at_once(empty_dsn: str) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(open_and_close(empty_dsn))
    connection = await asyncpg.connect(empty_dsn)
    applied = await connection.fetch("SELECT number, sha256 FROM answermesh.migrations ORDER BY number")
    await connection.close()
    assert [tuple(row) for row in applied] == [(m.number, m.sha256) for m in shipped()]


async def test_a_failing_migration_leaves_nothing_of_itself_and_the_next_start_goes_on(empty_dsn: str) -> None:
    good = Migration(9001, "good", "CREATE TABLE good ()")
    bad = Migration(9002, "bad", "CREATE TABLE half (); SELECT 1 / 0")
    connection = await asyncpg.connect(empty_dsn)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate.migrate(connection, [*shipped(), good, bad])
    assert await connection.fetchval("SELECT to_regclass('answermesh.good')")
    assert not await connection.fetchval("SELECT to_regclass('answermesh.half')")
    mended = Migration(9002, "bad", "CREATE TABLE whole ()")
    await migrate.migrate(connection, [*shipped(), good, mended])
    assert await connection.fetchval("SELECT to_regclass('answermesh.whole')")
    await connection.close()


async def test_a_database_that_is_newer_than_the_program_is_refused(empty_dsn: str) -> None:
    connection = await asyncpg.connect(empty_dsn)
    await migrate.migrate(connection, [*shipped(), Migration(9001, "future", "SELECT 1")])
    await connection.close()
    with pytest.raises(Failure, match="newer than this program: it has migration 9001_future") as caught:
        await open_and_close(empty_dsn)
    assert caught.value.reason is Reason.WRONG_STATE


async def test_a_user_with_few_rights_is_told_what_to_run_and_that_helps(empty_dsn: str) -> None:
    administrator = await asyncpg.connect(as_administrator(empty_dsn))
    await administrator.execute("CREATE ROLE clerk LOGIN PASSWORD 'pw'")
    as_clerk = empty_dsn.replace(empty_dsn.split("@")[0], "postgresql://clerk:pw")
    try:
        with pytest.raises(Failure) as caught:
            await open_and_close(as_clerk)
        assert caught.value.reason is Reason.WRONG_STATE
        told = caught.value.message.partition("administrator of this database: ")[2]
        assert "CREATE EXTENSION IF NOT EXISTS vector;" in told
        for statement in filter(str.strip, told.split(";")):
            try:
                await administrator.execute(statement)
            except asyncpg.DuplicateObjectError:
                assert "CREATE ROLE answermesh_app" in statement, "the session's server has it already"
        async with Store.open(as_clerk) as store, store.transaction("one") as transaction:
            assert await transaction.fetchval("SELECT current_user") == "answermesh_app"
            assert await transaction.fetchval("SELECT '[1,2]'::vector") is not None
    finally:
        await administrator.execute("DROP OWNED BY clerk CASCADE; DROP ROLE clerk")
        await administrator.close()


async def test_a_server_without_the_extension_is_refused(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "EXTENSIONS", ("vector", "no_such_extension"))
    with pytest.raises(Failure, match="lacks the extension no_such_extension") as caught:
        await open_and_close(empty_dsn)
    assert caught.value.reason is Reason.WRONG_STATE


async def test_a_services_role_that_security_does_not_bind_is_refused(dsn: str) -> None:
    administrator = await asyncpg.connect(as_administrator(dsn))
    await administrator.execute("ALTER ROLE answermesh_app BYPASSRLS")
    try:
        with pytest.raises(Failure, match="ALTER ROLE answermesh_app NOSUPERUSER NOBYPASSRLS"):
            await open_and_close(dsn)
    finally:
        await administrator.execute("ALTER ROLE answermesh_app NOBYPASSRLS")
        await administrator.close()


async def test_extensions_in_a_schema_of_the_administrators_choice_are_found(empty_dsn: str) -> None:
    administrator = await asyncpg.connect(as_administrator(empty_dsn))
    await administrator.execute(
        """CREATE SCHEMA "Shared ext"; GRANT USAGE ON SCHEMA "Shared ext" TO PUBLIC;
           ALTER EXTENSION vector SET SCHEMA "Shared ext" """
    )
    await administrator.close()
    async with Store.open(empty_dsn) as store, store.transaction("one") as transaction:
        assert (await transaction.fetchval("SELECT $1::vector", [1.0, 2.0])).tolist() == [1.0, 2.0]


async def test_documents_that_were_there_get_the_keys_of_their_titles(empty_dsn: str) -> None:
    connection = await asyncpg.connect(empty_dsn)
    await migrate.migrate(connection, [one for one in shipped() if one.number < 11])
    await connection.execute("SET search_path = answermesh; SET app.tenant = 'default'")
    await connection.execute(
        """INSERT INTO documents (document_id, uri, title, media_type, size_bytes, content_hash, fingerprint, text,
               character_count, passage_count)
           VALUES ('d', 'u', 'David Bradley (director)', 'text/plain', 1, '', '', '', 0, 0)"""
    )
    # A migration belongs to no tenant.
    await connection.execute("RESET app.tenant")
    await migrate.migrate(connection, shipped())
    await connection.execute("SET search_path = answermesh; SET app.tenant = 'default'")
    assert await connection.fetchval("SELECT title_key FROM documents") == "david bradley"
    assert await connection.fetchval("SELECT relforcerowsecurity FROM pg_class WHERE oid = 'documents'::regclass")
    await connection.close()
