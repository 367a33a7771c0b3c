"""A query on its way through a search, and all that was found for it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from answermesh.knowledge.fusion import Candidate
from answermesh.rpc.tenancy import current_tenant
from answermesh.store import Record, Store, Transaction, statements

SQL = statements("answermesh.knowledge", "search")
# Of the transactions that search.
SETTINGS = {
    # The vector index goes on until enough rows of this tenant are found: those of others are dropped after the scan.
    "hnsw.iterative_scan": "strict_order",
    # Planning anew for each query takes a quarter as long as what is planned, and comes to the same.
    "plan_cache_mode": "force_generic_plan",
    # Such a plan takes the limit for a tenth of all rows, so that sorting them all would seem cheaper than the index.
    "enable_sort": "off",
}


class Lookups:
    """The statements of one search, in one transaction as long as they follow each other: each BEGIN and each COMMIT is
    a round trip. An async context manager: on leaving, the transaction has ended.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open = AsyncExitStack()
        self._transaction: Transaction | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.__aexit__(kind, error, trace)

    async def fetch(self, sql: str, *args: object) -> list[Record]:
        """All rows. Raises what Store.transaction raises."""
        if self._transaction is None:
            self._transaction = await self._open.enter_async_context(
                self._store.transaction(current_tenant(), SETTINGS)
            )
        return await self._transaction.fetch(sql, *args)

    async def pause(self) -> None:
        """Give the connection to others for as long as something else is waited for."""
        self._transaction = None
        await self._open.aclose()


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, and the rows of all passages that were found for it, by id."""

    query: str
    documents: frozenset[str] | None
    vector: list[float] | None
    model: str
    rows: dict[int, Record]

    async def get(self, lookups: Lookups, ids: Sequence[int], nearest: int = 0) -> None:
        """Read passages that are not among the rows yet, and so many nearest to the query by the vectors' index; those
        of other documents are left out."""
        missing = [one for one in dict.fromkeys(ids) if one not in self.rows]
        if not missing and not nearest:
            return
        found = await lookups.fetch(SQL.get_candidates, missing, self.query, self.vector, self.model, nearest)
        self.rows.update(
            (row["passage_id"], row) for row in found if self.documents is None or row["document_id"] in self.documents
        )

    def candidates(self) -> list[Candidate]:
        return [
            Candidate(one, dict(zip(row["terms"] or (), row["weights"] or (), strict=True)), row["similarity"])
            for one, row in self.rows.items()
        ]
