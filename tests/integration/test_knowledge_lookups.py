"""The statements of one search, on a real Postgres with one connection."""

from __future__ import annotations

import asyncio

import pytest

from answermesh.errors import Failure
from answermesh.knowledge.asked import Lookups
from answermesh.rpc.deadline import fail_after
from answermesh.store import Store

XACT = "SELECT txid_current() AS number"


async def test_statements_that_follow_each_other_share_a_transaction_and_a_pause_ends_it(dsn: str) -> None:
    async with Store.open(dsn, pool_size=1) as store, Lookups(store) as lookups:
        [[first]] = await lookups.fetch(XACT)
        assert (await lookups.fetch(XACT))[0]["number"] == first
        await lookups.pause()
        # The only connection is free for others.
        async with asyncio.timeout(10), store.transaction("default") as tx:
            between = await tx.fetchval(XACT)
        assert first < between < (await lookups.fetch(XACT))[0]["number"]


async def test_the_connection_can_be_used_after_a_statement_that_failed(dsn: str) -> None:
    async with Store.open(dsn, pool_size=1) as store:
        with pytest.raises(Failure):
            async with Lookups(store) as lookups, fail_after(0.1):
                await lookups.fetch("SELECT pg_sleep(30)")
        async with asyncio.timeout(10), Lookups(store) as lookups:
            assert await lookups.fetch("SELECT 1 AS one")
