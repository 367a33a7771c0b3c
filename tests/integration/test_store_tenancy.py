"""Row-level security: who may see and write which rows, and that no table of ours forgets it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from answermesh.store import Store

# Tables of the schema that belong to no tenant, each with its reason.
SHARED = {
    "migrations",  # what the schema is; the services' role has no right to it
}

TABLE = """CREATE TABLE things (
    tenant_id text NOT NULL DEFAULT current_setting('app.tenant'),
    thing_id integer NOT NULL,
    PRIMARY KEY (tenant_id, thing_id)
)"""


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of the database's owner, with a tenant table `things` that holds one row each of two tenants."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "answermesh, public"})
    await connection.execute(TABLE + "; SELECT am_tenant_table('things')")
    for tenant in ("one", "two"):
        await connection.execute("SELECT set_config('app.tenant', $1, false)", tenant)
        await connection.execute("INSERT INTO things (thing_id) VALUES (1)")
    await connection.execute("RESET app.tenant")
    yield connection
    await connection.close()


async def test_a_tenant_reads_changes_and_deletes_its_own_rows_only(
    owner: asyncpg.Connection[asyncpg.Record], store: Store
) -> None:
    async with store.transaction("one") as transaction:
        rows = await transaction.fetch("SELECT tenant_id, thing_id FROM things")
        assert [tuple(row) for row in rows] == [("one", 1)]
        assert await transaction.execute("SELECT FROM things WHERE tenant_id = 'two'") == 0
        assert await transaction.execute("UPDATE things SET thing_id = 2") == 1
        assert await transaction.execute("UPDATE things SET thing_id = 3 WHERE tenant_id = 'two'") == 0
        assert await transaction.execute("DELETE FROM things WHERE tenant_id = 'two'") == 0
        assert await transaction.execute("DELETE FROM things") == 1
    async with store.transaction("two") as transaction:
        assert await transaction.fetchval("SELECT thing_id FROM things") == 1


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO things (tenant_id, thing_id) VALUES ('two', 9)",
        "UPDATE things SET tenant_id = 'two', thing_id = 9",
        "INSERT INTO things (tenant_id, thing_id) VALUES ('two', 1) ON CONFLICT DO NOTHING",
        "INSERT INTO things VALUES ('two', 1) ON CONFLICT ON CONSTRAINT things_pkey DO UPDATE SET thing_id = 9",
        "MERGE INTO things USING (VALUES ('two', 9)) s (t, i) ON false WHEN NOT MATCHED THEN INSERT VALUES (t, i)",
    ],
)
async def test_a_tenant_cannot_write_rows_of_another(
    owner: asyncpg.Connection[asyncpg.Record], store: Store, sql: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        async with store.transaction("one") as transaction:
            await transaction.execute(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE things DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON things",
        "TRUNCATE things",
        "SELECT am_tenant_table('things')",
        "SELECT * FROM migrations",
        "CREATE TABLE more ()",
        "RESET ROLE; ALTER TABLE things DISABLE ROW LEVEL SECURITY",
        "RESET ALL; TRUNCATE things",
    ],
)
async def test_the_services_role_cannot_step_out_of_its_rights(
    owner: asyncpg.Connection[asyncpg.Record], store: Store, sql: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with store.transaction("one") as transaction:
            await transaction.execute(sql)


async def test_without_a_tenant_there_are_no_rows_and_writing_fails(
    owner: asyncpg.Connection[asyncpg.Record], store: Store
) -> None:
    async with store.transaction("one") as transaction:
        await transaction.execute("SELECT set_config('app.tenant', '', true)")
        assert await transaction.fetch("SELECT * FROM things") == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with store.transaction("one") as transaction:
            await transaction.execute(
                "SELECT set_config('app.tenant', '', true); INSERT INTO things (thing_id) VALUES (5)"
            )
    # Before any transaction of a tenant the setting does not even exist; the owner is bound like everybody.
    assert await owner.fetch("SELECT * FROM things") == []
    with pytest.raises(asyncpg.PostgresError):
        await owner.execute("INSERT INTO things (thing_id) VALUES (5)")
    with pytest.raises(ValueError, match="needs a tenant"):
        async with store.transaction(""):
            pass


async def test_the_tenant_and_the_role_do_not_leak_into_the_next_transaction(dsn: str) -> None:
    async with Store.open(dsn, pool_size=1) as store:
        async with store.transaction("one") as transaction:
            await transaction.execute("SET search_path TO public")
            pid = await transaction.fetchval("SELECT pg_backend_pid()")
        async with store.transaction("two") as transaction:
            assert await transaction.fetchval("SELECT pg_backend_pid()") == pid
            assert await transaction.fetchval("SELECT current_setting('app.tenant')") == "two"
            assert await transaction.fetchval("SELECT current_user") == "answermesh_app"
            assert str(await transaction.fetchval("SHOW search_path")).startswith("answermesh")
            assert await transaction.fetchval("SHOW statement_timeout") == "62s"


async def test_a_table_without_a_tenant_column_cannot_become_a_tenant_table(
    owner: asyncpg.Connection[asyncpg.Record],
) -> None:
    await owner.execute("CREATE TABLE plain (tenant_id text)")
    with pytest.raises(asyncpg.RaiseError, match="table plain needs a column tenant_id text NOT NULL"):
        await owner.execute("SELECT am_tenant_table('plain')")


CONDITION = "(tenant_id = NULLIF(current_setting('app.tenant'::text, true), ''::text))"


async def unprotected(connection: asyncpg.Connection[asyncpg.Record]) -> dict[str, str]:
    """Tables of our schema that are not kept apart by tenant, with what is wrong."""
    rows = await connection.fetch(
        """SELECT c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced,
                  pg_get_userbyid(c.relowner) = 'answermesh_app' AS owned,
                  EXISTS (SELECT FROM pg_attribute a
                          WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnotnull) AS has_tenant,
                  (SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
                   WHERE i.indrelid = c.oid AND i.indisprimary) AS first_key,
                  ARRAY(SELECT (p.permissive, p.cmd, p.qual, p.with_check, p.roles::text)::text FROM pg_policies p
                        WHERE p.schemaname = 'answermesh' AND p.tablename = c.relname) AS policies
           FROM pg_class c
           WHERE c.relnamespace = 'answermesh'::regnamespace AND c.relkind IN ('r', 'p', 'm', 'f', 'v')"""
    )
    wanted = [
        await connection.fetchval("SELECT ('PERMISSIVE', 'ALL', $1::text, $1::text, '{public}')::text", CONDITION)
    ]
    found = {}
    for row in rows:
        if row["name"] in SHARED:
            continue
        if not row["has_tenant"]:
            found[row["name"]] = "has no tenant_id text NOT NULL"
        elif not row["forced"]:
            found[row["name"]] = "does not FORCE row-level security"
        elif row["policies"] != wanted:
            found[row["name"]] = f"has other policies: {row['policies']}"
        elif row["first_key"] != "tenant_id":
            found[row["name"]] = "has a primary key that does not begin with tenant_id"
        elif row["owned"]:
            found[row["name"]] = "belongs to the services' role"
    return found


async def test_every_table_of_ours_is_kept_apart_by_tenant(owner: asyncpg.Connection[asyncpg.Record]) -> None:
    assert await unprotected(owner) == {}


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("CREATE TABLE bad (id int)", "has no tenant_id"),
        ("CREATE VIEW bad AS SELECT 1", "has no tenant_id"),
        ("CREATE TABLE bad (tenant_id text PRIMARY KEY)", "does not FORCE"),
        ("ALTER TABLE things RENAME TO bad; ALTER TABLE bad NO FORCE ROW LEVEL SECURITY", "does not FORCE"),
        ("ALTER TABLE things RENAME TO bad; CREATE POLICY also ON bad USING (true)", "has other policies"),
        (
            "CREATE TABLE bad (id int PRIMARY KEY, tenant_id text NOT NULL); SELECT am_tenant_table('bad')",
            "does not begin with tenant_id",
        ),
    ],
)
async def test_that_walk_notices_each_way_to_forget_it(
    owner: asyncpg.Connection[asyncpg.Record], sql: str, complaint: str
) -> None:
    await owner.execute(sql)
    found = await unprotected(owner)
    assert list(found) == ["bad"]
    assert complaint in found["bad"]
