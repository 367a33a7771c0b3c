"""Queries as they are stored: accepting, finding, listing and deleting them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from answermesh.errors import Failure, Field, Reason, not_found
from answermesh.orchestrator.records.filter import QueryFilter
from answermesh.store import Record, Store, statements
from answermesh.v1.query_pb2 import Query, QueryEvent

SQL = statements("answermesh.orchestrator.records", "queries")

FINAL = frozenset({Query.STATE_SUCCEEDED, Query.STATE_PARTIAL, Query.STATE_FAILED, Query.STATE_CANCELLED})


def new_query(question: str, *, plan: str, timeout_s: float, documents: Sequence[str]) -> Query:
    """A query that nobody has accepted yet. `timeout_s` 0 means the plan's."""
    # Time first, so that new queries stand together in the index; 60 random bits behind it.
    query_id = f"{int(datetime.now(UTC).timestamp() * 1000):011x}{secrets.randbits(60):015x}"
    query = Query(name=f"queries/{query_id}", question=question, plan=plan, documents=documents)
    if timeout_s:
        query.timeout.FromMicroseconds(round(timeout_s * 1e6))
    query.state = Query.STATE_QUEUED
    query.create_time.GetCurrentTime()
    return query


class Queries:
    """The table of queries."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def accept(self, tenant: str, query: Query, request_id: str = "") -> Query:
        """Store a query that is to be answered in the background, with its first event.

        Returns the earlier query where the same request came before with this request_id.

        Raises Failure(REQUEST_ID_REUSED) where a different one did.
        """
        digest = _digest(query)
        queued = QueryEvent(query=query.name, sequence=1, state_changed=QueryEvent.StateChanged(state=query.state))
        queued.event_time.CopyFrom(query.create_time)
        async with self._store.transaction(tenant) as tx:
            accepted = await tx.fetchval(
                SQL.insert_query,
                query.name.removeprefix("queries/"),
                request_id,
                digest,
                query.SerializeToString(),
                query.state,
                query.create_time.ToDatetime(UTC),
                query.priority,
            )
            if accepted is not None:
                event = queued.SerializeToString()
                await tx.execute(SQL.insert_events, [accepted], [1], [event])
                return query
            row = await tx.fetchrow(SQL.query_by_request, request_id)
        if row is None or row["request_hash"] != digest:
            what = f"{request_id!r} was used before for another question; choose a new one."
            raise Failure(Reason.REQUEST_ID_REUSED, f"request_id: {what}", fields=[Field("request_id", what)])
        return _query(row)

    async def get(self, tenant: str, query_id: str) -> Query:
        """A query as of its newest event. Raises Failure(NOT_FOUND)."""
        async with self._store.transaction(tenant) as tx:
            row = await tx.fetchrow(SQL.get_query, query_id)
        if row is None:
            raise not_found(f"queries/{query_id}")
        query = _query(row)
        query.last_sequence = row["last_sequence"]
        return query

    async def page(
        self, tenant: str, wanted: QueryFilter, after: tuple[datetime, str] | None, size: int
    ) -> tuple[list[Query], tuple[datetime, str] | None]:
        """Queries, newest first, and where the next page starts if there is one."""
        moment, query_id = after or (None, "")
        async with self._store.transaction(tenant) as tx:
            rows = await tx.fetch(
                SQL.list_queries,
                wanted.state,
                wanted.created_from,
                wanted.created_before,
                moment,
                query_id,
                size + 1,
            )
        more = (rows[size - 1]["create_time"], rows[size - 1]["query_id"]) if len(rows) > size else None
        queries = [_query(row) for row in rows[:size]]
        for query in queries:
            query.answer.ClearField("sentences")
        return queries, more

    async def delete(self, tenant: str, query_id: str) -> None:
        """Delete a query that has ended. Raises Failure(NOT_FOUND), or WRONG_STATE for one that has not."""
        async with self._store.transaction(tenant) as tx:
            deleted = await tx.fetchval(SQL.delete_query, query_id)
        if deleted is None:
            query = await self.get(tenant, query_id)
            state = Query.State.Name(query.state).removeprefix("STATE_")
            raise Failure(Reason.WRONG_STATE, f"queries/{query_id} is {state}; cancel it, or wait for its end.")

    async def events(self, tenant: str, query_id: str) -> list[QueryEvent]:
        """All events of a query."""
        async with self._store.transaction(tenant) as tx:
            rows = await tx.fetch(SQL.events_after, query_id, 0, 2**31)
        return [QueryEvent.FromString(row["payload"]) for row in rows]


def _query(row: Record) -> Query:
    return Query.FromString(row["record"])


def _digest(query: Query) -> bytes:
    """What makes two requests the same: all that their caller chose."""
    asked = Query(question=query.question, plan=query.plan, documents=query.documents, priority=query.priority)
    if query.HasField("timeout"):
        asked.timeout.CopyFrom(query.timeout)
    if query.HasField("min_confidence"):
        asked.min_confidence = query.min_confidence
    asked.unsupported = query.unsupported
    asked.session = query.session
    return hashlib.sha256(asked.SerializeToString(deterministic=True)).digest()
