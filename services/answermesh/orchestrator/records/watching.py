"""Watching: the events of any query, for any number of readers, whoever answers it.

Of a query that this process owns, what was committed lately is in memory. Everything else comes from the database: the
owner is told that somebody watches, and then signals each commit; beneath that, the reader looks for itself. So a slow
reader costs nobody anything, and one whose query changes its owner notices nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

from answermesh.errors import Failure, not_found
from answermesh.orchestrator.records.events import heartbeat
from answermesh.orchestrator.records.journal import Journal, QueryLog
from answermesh.orchestrator.records.queries import FINAL
from answermesh.orchestrator.records.signals import Signal, Signals, send
from answermesh.store import Store, statements
from answermesh.v1.query_pb2 import QueryEvent

SQL = statements("answermesh.orchestrator.records", "queries")

# Events read from the database at a time.
PAGE = 256
# How often a query of another orchestrator is looked at when no signal comes.
POLL_S = 0.5
# How often its owner is told that somebody watches, and how long it takes that for true: two messages may get lost.
ANNOUNCE_S, ANNOUNCED_S = 2.0, 6.0
# Quiet time after which a reader is told that the query lives; by its absence, readers notice a process that hangs.
HEARTBEAT_S = 1.0


class Watching:
    """Reads the events of queries."""

    def __init__(self, store: Store, journal: Journal, signals: Signals, tenant: str) -> None:
        self._store = store
        self._journal = journal
        self._tenant = tenant
        self._here: Counter[str] = Counter()
        self._grown: dict[str, asyncio.Event] = {}
        self._moved: Failure | None = None
        signals.on(Signal.GROWN, self._wake)
        signals.on(Signal.WATCHED, self._mark)

    def is_read(self, query_log: QueryLog) -> bool:
        """Whether somebody reads a query of this process, here or at another orchestrator."""
        return query_log.query_id in self._here or query_log.watched_until_s > asyncio.get_running_loop().time()

    def move_on(self, failure: Failure) -> None:
        """End all streams with that failure: their readers go on elsewhere."""
        self._moved = failure
        for query_id in list(self._grown):
            self._wake(query_id)

    async def watch(self, tenant: str, query_id: str, after: int) -> AsyncGenerator[Sequence[QueryEvent], None]:
        """The events of a query after a sequence, those that are there together in one list; ends after the last.

        A heartbeat comes in quiet times.
        Raises Failure(NOT_FOUND) for a query that does not exist, DATABASE_UNAVAILABLE where the database is away, and
        SERVICE_UNAVAILABLE when the process stops.
        """
        loop = asyncio.get_running_loop()
        quiet_since_s = loop.time()
        announced_s = 0.0
        known = False
        self._here[query_id] += 1
        try:
            while True:
                if self._moved is not None:
                    raise self._moved
                query_log = self._journal.log(tenant, query_id)
                # Taken before the look, so that what is committed after it is not missed.
                grown = self._grown.setdefault(query_id, asyncio.Event())
                events = _from_memory(query_log, after) if query_log else None
                if events is None:
                    events, ended = await self._from_database(tenant, query_id, after, known=known)
                    if ended:
                        return
                known = True
                if events:
                    after = events[-1].sequence
                    yield events
                    if events[-1].HasField("query_ended"):
                        return
                    quiet_since_s = loop.time()
                    continue
                patience_s = max(0.0, quiet_since_s + HEARTBEAT_S - loop.time())
                if query_log is not None:
                    waiting, limit_s = query_log.wait(), patience_s
                else:
                    if loop.time() - announced_s > ANNOUNCE_S:
                        announced_s = loop.time()
                        await self._announce(tenant, query_id)
                    waiting, limit_s = _set(grown), min(patience_s, POLL_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(limit_s):
                        await waiting
                if loop.time() - quiet_since_s >= HEARTBEAT_S:
                    quiet_since_s = loop.time()
                    yield [heartbeat(f"queries/{query_id}", after)]
        finally:
            self._here[query_id] -= 1
            if not self._here[query_id]:
                del self._here[query_id]
                self._grown.pop(query_id, None)

    async def _from_database(
        self, tenant: str, query_id: str, after: int, *, known: bool
    ) -> tuple[list[QueryEvent], bool]:
        """Events after a sequence, and whether there are none and never will be.

        Raises Failure(NOT_FOUND) for a query that is not there; one that was `known` has been deleted, and is over.
        """
        async with self._store.transaction(tenant) as tx:
            rows = await tx.fetch(SQL.events_after, query_id, after, PAGE)
            row = None if rows else await tx.fetchrow(SQL.get_query, query_id)
        if not rows and row is None and not known:
            raise not_found(f"queries/{query_id}")
        ended = not rows and (row is None or (row["state"] in FINAL and row["last_sequence"] <= after))
        return [QueryEvent.FromString(row["payload"]) for row in rows], ended

    async def _announce(self, tenant: str, query_id: str) -> None:
        async with self._store.transaction(tenant) as tx:
            await send(tx, Signal.WATCHED, [query_id])

    def _wake(self, query_id: str) -> None:
        if grown := self._grown.pop(query_id, None):
            grown.set()

    def _mark(self, query_id: str) -> None:
        if query_log := self._journal.log(self._tenant, query_id):
            query_log.watched_until_s = asyncio.get_running_loop().time() + ANNOUNCED_S


def _from_memory(query_log: QueryLog, after: int) -> list[QueryEvent] | None:
    """Committed events after a sequence; None where memory does not reach back so far."""
    if query_log.committed <= after:
        return []
    recent = query_log.recent
    if not recent or recent[0].sequence > after + 1:
        return None
    return [recent[i] for i in range(after + 1 - recent[0].sequence, len(recent))]


async def _set(event: asyncio.Event) -> None:
    await event.wait()
