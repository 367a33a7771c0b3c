"""The journal: every event of every query, committed before anybody sees it.

One writer takes all that waits, of all queries, into one transaction (group commit): a lone event is committed at once,
and under load one commit carries many. The ledger and the queries' states change in that same transaction, since they
follow from the events. Only the owner's fencing token lets events in.

What was committed lately stays in memory, shared by all readers of the query: see watching.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.records import ledger
from answermesh.orchestrator.records.events import number
from answermesh.orchestrator.records.signals import Signal, send
from answermesh.store import Store, Transaction, statements
from answermesh.v1.query_pb2 import Query, QueryEvent

SQL = statements("answermesh.orchestrator.records", "queries")
log = logging.getLogger(__name__)

# Events that may wait for the next commit, over all queries, before their writers are held back.
MAX_WAITING = 4096
# Events taken into one transaction at most: about 1 MB, a commit of a few milliseconds.
MAX_COMMIT = 1000
# Events of a running query kept for its readers.
MAX_RECENT = 1024
# How long the database may be away in mid-query; an embedded one restarts within about a second.
OUTAGE_S = 15.0


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it waits for its commit."""

    log: QueryLog
    event: QueryEvent


class QueryLog:
    """The events of one query that this process owns."""

    def __init__(self, journal: Journal, tenant: str, record: Query, fence: int, last_sequence: int) -> None:
        self.tenant = tenant
        self.record = record
        self.query_id = record.name.removeprefix("queries/")
        self.fence = fence
        # Why nothing more can be written, once that is so.
        self.failure: Failure | None = None
        self.committed = last_sequence
        self.recent: deque[QueryEvent] = deque(maxlen=MAX_RECENT)
        # Until when it counts as read at another orchestrator, by the loop's clock.
        self.watched_until_s = 0.0
        # Who owns it, while the query itself is not stored yet: its first commit does that too.
        self.newborn_of = ""
        self._journal = journal
        self._sequence = last_sequence
        self._changed = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Whether `room` would wait."""
        return self._journal.is_full

    async def room(self) -> None:
        """Wait while too many events of all queries wait. Raises the failure that ended the log, if one did."""
        await self._journal.room()
        if self.failure:
            raise self.failure

    async def born(self) -> None:
        """Wait until the query is stored. Raises the failure that ended the log before."""
        while self.newborn_of:
            if self.failure:
                raise self.failure
            await self.wait()

    def append(self, *events: QueryEvent) -> None:
        """Number the events and queue them for the next commit. Who appends awaits `room` before.

        Appending is synchronous so that what follows from an event always stands behind it, whoever waits for what.
        """
        self._sequence = number(self.record, self._sequence, events)
        for event in events:
            self._journal.put(Entry(self, event))

    async def flush(self) -> None:
        """Wait until all that was written is committed. Raises the failure that ended the log, if one did."""
        while self.committed < self._sequence:
            if self.failure:
                raise self.failure
            await self.wait()

    async def wait(self) -> None:
        """Wait for the next commit, or the log's end."""
        await self._changed.wait()

    def publish(self, events: Sequence[QueryEvent]) -> None:
        """Show events that are committed now."""
        self.newborn_of = ""
        self.recent.extend(events)
        self.committed = events[-1].sequence
        self._wake()

    def fail(self, failure: Failure) -> None:
        """Let nothing more be written."""
        self.failure = self.failure or failure
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Journal:
    """Writes the events of the queries that this process owns, and reads those of any."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._logs: dict[tuple[str, str], QueryLog] = {}
        self._waiting: deque[Entry] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def open(self, tenant: str, record: Query, fence: int, last_sequence: int) -> QueryLog:
        """The log of a query that this process now owns with that token, going on after `last_sequence`."""
        query_log = QueryLog(self, tenant, record, fence, last_sequence)
        self._logs[tenant, query_log.query_id] = query_log
        return query_log

    def begin(self, tenant: str, record: Query, owner: str) -> QueryLog:
        """The log of a new query of this process, which is stored with its first events; its fencing token is 1."""
        query_log = self.open(tenant, record, 1, 0)
        query_log.newborn_of = owner
        query_log.append(QueryEvent(state_changed=QueryEvent.StateChanged(state=record.state)))
        return query_log

    def close(self, query_log: QueryLog) -> None:
        """Forget a log; its readers go on from the database."""
        # It may have been lost, and be here anew under another token.
        if self.log(query_log.tenant, query_log.query_id) is query_log:
            del self._logs[query_log.tenant, query_log.query_id]
        query_log.fail(Failure(Reason.INTERNAL, "The query's log is closed."))

    def put(self, entry: Entry) -> None:
        """Queue an event for the next commit."""
        self._waiting.append(entry)
        self._arrived.set()

    @property
    def is_full(self) -> bool:
        """Whether more than MAX_WAITING events wait."""
        return len(self._waiting) > MAX_WAITING

    async def room(self) -> None:
        """Wait while more than MAX_WAITING events wait."""
        while self.is_full:
            self._room.clear()
            await self._room.wait()

    async def run(self) -> None:
        """Commit what waits, for as long as the process lives."""
        while True:
            self._arrived.clear()
            if not self._waiting:
                await self._arrived.wait()
            count = min(len(self._waiting), MAX_COMMIT)
            batch = [self._waiting.popleft() for _ in range(count)]
            self._room.set()
            if self._waiting:
                self._arrived.set()
            by_tenant: dict[str, list[Entry]] = {}
            for entry in batch:
                if entry.log.failure is None:
                    by_tenant.setdefault(entry.log.tenant, []).append(entry)
            for tenant, entries in by_tenant.items():
                await self._commit(tenant, entries)

    def log(self, tenant: str, query_id: str) -> QueryLog | None:
        """The log of a query that this process owns."""
        return self._logs.get((tenant, query_id))

    async def _commit(self, tenant: str, entries: Sequence[Entry]) -> None:
        """Bring events into the database, and then show them. Never raises but for cancellation."""
        logs = list(dict.fromkeys(entry.log for entry in entries))
        try:
            owned = await self._insist(tenant, logs, entries)
        except Failure as failure:
            for query_log in logs:
                query_log.fail(failure)
            return
        except Exception:
            if len(logs) > 1:
                # One query's events are at fault; the others must not suffer.
                for query_log in logs:
                    await self._commit(tenant, [entry for entry in entries if entry.log is query_log])
                return
            log.exception("events of %s cannot be stored", logs[0].record.name)
            logs[0].fail(Failure(Reason.INTERNAL, "The query's events cannot be stored."))
            return
        for query_log in logs:
            if query_log in owned:
                query_log.publish([entry.event for entry in entries if entry.log is query_log])
            else:
                query_log.fail(Failure(Reason.WRONG_STATE, "Another orchestrator has taken the query over."))

    async def _insist(self, tenant: str, logs: Sequence[QueryLog], entries: Sequence[Entry]) -> set[QueryLog]:
        """Commit, and try again while the database is away, for OUTAGE_S."""
        give_up = asyncio.get_running_loop().time() + OUTAGE_S
        pause_s = 0.05
        while True:
            try:
                return await self._transact(tenant, logs, entries)
            except Failure as failure:
                if failure.reason is not Reason.DATABASE_UNAVAILABLE or asyncio.get_running_loop().time() > give_up:
                    raise
                # Callers of queries that nobody has seen anything of do better to ask again.
                for newborn in [query_log for query_log in logs if query_log.newborn_of]:
                    newborn.fail(failure)
                logs = [query_log for query_log in logs if not query_log.failure]
                entries = [entry for entry in entries if not entry.log.failure]
                if not logs:
                    return set()
                log.warning("the journal waits for the database: %s", failure.message)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            pause_s = min(pause_s * 2, 1.0)

    async def _transact(self, tenant: str, logs: Sequence[QueryLog], entries: Sequence[Entry]) -> set[QueryLog]:
        """Commit what the fencing tokens let in; returns the logs concerned."""
        async with self._store.transaction(tenant) as tx:
            if newborn := [query_log for query_log in logs if query_log.newborn_of]:
                await ledger.accept(tx, newborn)
            rows = await tx.fetch(SQL.lock_owned, [q.query_id for q in logs], [q.fence for q in logs])
            # By token too: a query that was lost and taken up again has two logs here for a moment.
            held = {(row["query_id"], row["fence"]) for row in rows}
            owned = {q for q in logs if (q.query_id, q.fence) in held}
            # A commit whose answer was lost has ended these queries already; its events are in.
            owned |= {q for q in logs if q not in owned and await _is_in(tx, q, entries)}
            mine = [entry for entry in entries if entry.log in owned]
            if mine:
                await ledger.enter(tx, mine)
            now_s = asyncio.get_running_loop().time()
            if watched := [q.query_id for q in owned if q.watched_until_s > now_s]:
                await send(tx, Signal.GROWN, watched)
        return owned


async def _is_in(tx: Transaction, query_log: QueryLog, entries: Sequence[Entry]) -> bool:
    last = max(entry.event.sequence for entry in entries if entry.log is query_log)
    row = await tx.fetchrow(SQL.get_query, query_log.query_id)
    return row is not None and row["fence"] == query_log.fence and row["last_sequence"] >= last
