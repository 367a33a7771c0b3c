"""Signals between the orchestrators of one database: what one did that another may wait for.

    queries       there are queries to take up
    taken ID      a query has another owner
    watched ID    somebody reads a query that is answered elsewhere
    grown ID      events of a query that is watched so were committed

They travel by NOTIFY and may get lost, so whoever waits for one looks for itself now and then.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

from answermesh.store import Store, Transaction, statements

SQL = statements("answermesh.orchestrator.records", "leases")

CHANNEL = "answermesh_queries"
# A notification that was lost is made good by each waiter's own looking; this only bounds the wait for nothing.
_WAIT_S = 60.0


class Signal(enum.StrEnum):
    """See the module."""

    QUERIES = "queries"
    TAKEN = "taken"
    WATCHED = "watched"
    GROWN = "grown"


class Signals:
    """What the orchestrators tell each other, this one's own words included."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._heard: dict[str, Callable[[str], None]] = {}

    def on(self, signal: Signal, heard: Callable[[str], None]) -> None:
        """Call `heard` with the query's id for each such signal; one listener for each."""
        self._heard[signal] = heard

    async def run(self) -> None:
        """Listen, for as long as the process lives."""
        async with self._store.listen(CHANNEL) as wakeups:
            while True:
                for payload in await wakeups.wait(_WAIT_S):
                    word, _, query_id = payload.partition(" ")
                    if heard := self._heard.get(word):
                        heard(query_id)


async def send(tx: Transaction, signal: Signal, query_ids: Iterable[str] = ("",)) -> None:
    """Send a signal, for each of these queries, when the transaction is committed."""
    await tx.execute(SQL.notify, CHANNEL, [f"{signal} {query_id}" for query_id in query_ids])
