"""Sessions: what was asked before in a conversation, kept by tenant until it is deleted."""

from __future__ import annotations

from datetime import UTC

from answermesh.errors import not_found
from answermesh.orchestrator.conversation import resolved
from answermesh.store import Store, statements
from answermesh.v1.query_pb2 import Query

SQL = statements("answermesh.orchestrator.records", "sessions")


class Sessions:
    """The table of what was asked in sessions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def enter(self, tenant: str, query: Query, *, stored: bool) -> None:
        """Resolve a query's question against the one before it in its session, and enter it there if it is `stored`.

        A query without a session is left alone.
        """
        if not query.session:
            return
        session_id = query.session.removeprefix("sessions/")
        async with self._store.transaction(tenant) as tx:
            before = await tx.fetchval(SQL.last_turn, session_id)
            question = resolved(query.question, before or "")
            if stored:
                moment = query.create_time.ToDatetime(UTC)
                await tx.execute(SQL.add_turn, session_id, query.name.removeprefix("queries/"), question, moment)
        if question != query.question:
            query.resolved_question = question

    async def forget_query(self, tenant: str, query_id: str) -> None:
        """Forget what a query asked, in whatever session."""
        async with self._store.transaction(tenant) as tx:
            await tx.execute(SQL.forget_query, query_id)

    async def delete(self, tenant: str, session_id: str) -> None:
        """Forget a session. Raises Failure(NOT_FOUND) where nothing was asked in it."""
        async with self._store.transaction(tenant) as tx:
            if not await tx.fetchval(SQL.delete_session, session_id):
                raise not_found(f"sessions/{session_id}")
