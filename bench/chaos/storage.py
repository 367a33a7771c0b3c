"""What the database holds of all queries, when all is over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import asyncpg

from answermesh.v1.query_pb2 import Query, QueryEvent
from bench.chaos.checker import FINAL
from bench.chaos.history import Stored

# A query whose owner has just died is taken over within seconds, and ends by its own deadline at the latest.
_SETTLE_S = 75.0


async def settled(dsn: str, queries: Iterable[str]) -> dict[str, Stored]:
    """The queries as they are stored, once all of them have ended, or at the latest after some time."""
    wanted = set(queries)
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + _SETTLE_S
    while True:
        stored = await _read(dsn)
        running = [name for name in wanted & stored.keys() if stored[name].record.state not in FINAL]
        if not running or loop.time() > give_up_s:
            return stored
        await asyncio.sleep(0.5)


async def _read(dsn: str) -> dict[str, Stored]:
    connection = await _connected(dsn)
    try:
        records = await connection.fetch("SELECT query_id, record FROM answermesh.queries")
        events = await connection.fetch("SELECT query_id, payload FROM answermesh.query_events ORDER BY sequence")
    finally:
        await connection.close()
    by_query: dict[str, list[QueryEvent]] = {}
    for row in events:
        by_query.setdefault(row["query_id"], []).append(QueryEvent.FromString(row["payload"]))
    return {
        f"queries/{row['query_id']}": Stored(Query.FromString(row["record"]), by_query.get(row["query_id"], []))
        for row in records
    }


async def owner_pid(dsn: str, query: str) -> int:
    """The process that answers a query."""
    connection = await _connected(dsn)
    try:
        owner = await connection.fetchval(
            "SELECT owner FROM answermesh.queries WHERE query_id = $1", query.removeprefix("queries/")
        )
    finally:
        await connection.close()
    return int(str(owner).split("-")[-2])


async def _connected(dsn: str) -> asyncpg.Connection[asyncpg.Record]:
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(dsn)
    # Row-level security binds the owner too.
    await connection.execute("SELECT set_config('app.tenant', 'default', false)")
    return connection
