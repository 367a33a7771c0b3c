"""Leases: which orchestrator owns which query.

A process keeps one lease, whose renewal keeps all its queries. When it runs out, or the process gives it up, others
may claim them; each claim raises the query's fencing token, by which the journal refuses what the former owner writes.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from answermesh.orchestrator.records.signals import Signal, send
from answermesh.store import Record, Store, statements
from answermesh.v1.query_pb2 import Query

SQL = statements("answermesh.orchestrator.records", "leases")

# How long an owner may be silent before its queries are taken over: a killed one is replaced within this and the
# time between two looks (desk.LOOK_S), and one that is merely slow misses five renewals first.
LEASE_S = 2.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A query that this process owns, with its fencing token."""

    record: Query
    fence: int
    attached: bool


class Leases:
    """The lease of this process, and what it owns by it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Anew for each process: one that was started again owns nothing of what it did before.
        self.owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"

    async def renew(self, tenant: str, held: Mapping[str, int]) -> set[str]:
        """Keep the lease; of the queries held with their fencing tokens, those that nobody else has taken."""
        async with self._store.transaction(tenant) as tx:
            await tx.execute(SQL.renew_lease, self.owner, LEASE_S)
            if not held:
                return set()
            rows = await tx.fetch(SQL.held_queries, list(held), list(held.values()))
        return {row["query_id"] for row in rows}

    async def claim(self, tenant: str, *, begun: int, waiting: int, lapsed: bool, priority: int) -> list[Claim]:
        """Take up queries that nobody answers: at most so many that were begun, and so many that only wait.

        None of a lower priority than `priority`.
        The oldest come first. With `lapsed`, also those whose owner's lease has run out.
        """
        async with self._store.transaction(tenant) as tx:
            rows = await tx.fetch(SQL.claim_queries, self.owner, lapsed, begun, True, priority)
            if waiting > 0:
                rows += await tx.fetch(SQL.claim_queries, self.owner, lapsed, waiting, False, priority)
        return [_claim(row) for row in rows]

    async def seize(self, tenant: str, query_id: str) -> Claim | None:
        """Take a query from whoever owns it; None where it has ended."""
        async with self._store.transaction(tenant) as tx:
            row = await tx.fetchrow(SQL.seize_query, query_id, self.owner)
            await send(tx, Signal.TAKEN, [query_id])
        return _claim(row) if row else None

    async def owned(self, tenant: str) -> dict[str, int]:
        """All queries that this process owns, with their fencing tokens."""
        async with self._store.transaction(tenant) as tx:
            rows = await tx.fetch(SQL.owned_queries, self.owner)
        return {row["query_id"]: row["fence"] for row in rows}

    async def release(self, tenant: str, held: Mapping[str, int]) -> None:
        """Let others have these queries, each with the fencing token that it is held by."""
        async with self._store.transaction(tenant) as tx:
            await tx.execute(SQL.release_queries, list(held), list(held.values()))

    async def resign(self, tenant: str) -> None:
        """Give up the lease: what this process still owns is taken over at once."""
        async with self._store.transaction(tenant) as tx:
            await tx.execute(SQL.resign, self.owner)
            await send(tx, Signal.QUERIES)


def _claim(row: Record) -> Claim:
    return Claim(Query.FromString(row["record"]), row["fence"], row["attached"])
