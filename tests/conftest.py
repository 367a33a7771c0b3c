"""What tests of several folders share: one Postgres per session, and a fresh, migrated database per test.

postgres_dsn   an empty database of the session's server; its user may create databases
dsn            a database of one's own, migrated; dropped after the test
store          a Store over it
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import settings

from answermesh.store import EmbeddedPostgres, Store

# A busy machine is slow, not wrong.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

_TEMPLATE = "migrated_template"
# How long autovacuum may be at work in a database that is to be dropped.
_DROP_S = 30.0
_numbers = itertools.count(1)


def at_database(dsn: str, name: str) -> str:
    """The address of another database of the same server, for the same user."""
    before, _, query = dsn.partition("?")
    return f"{before.rpartition('/')[0]}/{name}?{query}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_dsn(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    folder: Path = tmp_path_factory.mktemp("pg")
    async with EmbeddedPostgres(folder / "data", folder / "run") as postgres:
        yield postgres.dsn


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_template(postgres_dsn: str) -> str:
    await _run(postgres_dsn, f"CREATE DATABASE {_TEMPLATE}")
    async with Store.open(at_database(postgres_dsn, _TEMPLATE)):
        pass
    return _TEMPLATE


@pytest.fixture
async def dsn(postgres_dsn: str, migrated_template: str) -> AsyncIterator[str]:
    name = f"test_{next(_numbers)}"
    await _run(postgres_dsn, f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
    yield at_database(postgres_dsn, name)
    async with asyncio.timeout(_DROP_S):
        await _drop(postgres_dsn, name)


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[Store]:
    async with Store.open(dsn) as opened:
        yield opened


async def _drop(dsn: str, name: str) -> None:
    while True:
        try:
            await _run(dsn, f"DROP DATABASE {name} WITH (FORCE)")
        except asyncpg.InsufficientPrivilegeError:
            # Autovacuum is at work there, which only a superuser may end; nothing tells when it is done.
            await asyncio.sleep(0.1)
        else:
            return


async def _run(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
