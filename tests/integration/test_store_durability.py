"""What a transaction has acknowledged is there after kill -9 of the server and all its processes."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from answermesh.errors import Failure, Reason
from answermesh.store import EmbeddedPostgres, Store
from answermesh.store.postgres_orphans import living_in

WRITERS = 8
TABLE = """CREATE TABLE notes (
    tenant_id text NOT NULL DEFAULT current_setting('app.tenant'),
    writer integer, number integer, PRIMARY KEY (tenant_id, writer, number)
); SELECT am_tenant_table('notes')"""


async def write(store: Store, writer: int, acknowledged: list[int], enough: asyncio.Event) -> Failure:
    """Commit rows one by one until the database goes away."""
    while True:
        try:
            async with store.transaction("one") as transaction:
                await transaction.execute(
                    "INSERT INTO notes (writer, number) VALUES ($1, $2)", writer, len(acknowledged)
                )
        except Failure as failure:
            return failure
        acknowledged.append(len(acknowledged))
        if len(acknowledged) == 50:
            enough.set()


@pytest.mark.parametrize("victims", ["the server", "all its processes"])
async def test_no_acknowledged_row_is_lost(tmp_path: Path, victims: str) -> None:
    async with (
        EmbeddedPostgres(tmp_path / "data", tmp_path / "run") as postgres,
        Store.open(postgres.dsn, pool_size=8) as store,
    ):
        owner = await asyncpg.connect(postgres.dsn, server_settings={"search_path": "answermesh, public"})
        await owner.execute(TABLE)
        await owner.close()
        acknowledged: list[list[int]] = [[] for _ in range(WRITERS)]
        enough = asyncio.Event()
        async with asyncio.timeout(45), asyncio.TaskGroup() as group:
            writers = [group.create_task(write(store, n, acknowledged[n], enough)) for n in range(WRITERS)]
            await enough.wait()
            pids = living_in(tmp_path / "data" / "postgres" / "data") if victims != "the server" else []
            for pid in (postgres.pid, *pids):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await postgres.wait()
        assert {writer.result().reason for writer in writers} == {Reason.DATABASE_UNAVAILABLE}
        await postgres.restart()
        async with store.transaction("one") as transaction:
            rows = await transaction.fetch(
                "SELECT writer, array_agg(number ORDER BY number) AS numbers FROM notes GROUP BY 1"
            )
        found = {row["writer"]: row["numbers"] for row in rows}
        for writer in range(WRITERS):
            # One more than acknowledged may be there: committed, but its answer did not get through.
            numbers = found.get(writer, [])
            assert numbers == list(range(len(numbers)))
            assert len(acknowledged[writer]) <= len(numbers) <= len(acknowledged[writer]) + 1
