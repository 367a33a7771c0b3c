"""Imports that Postgres or the reader of the stream breaks off: nothing is half stored, nothing stored is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from answermesh.errors import Failure, Reason
from answermesh.knowledge.importing import File, Importer
from answermesh.knowledge.pool import Pool
from answermesh.store import Store, Transaction


class Constant:
    """An embedder that gives every text the same vector."""

    async def model(self) -> str:
        return "constant"

    async def embed(self, texts: Sequence[str], *, is_query: bool = False) -> list[list[float]]:
        return [[1.0] + [0.0] * 383 for _ in texts]


class Breaking(Transaction):
    """A transaction whose statement of that number fails, as it does on a full disk."""

    def __init__(self, inner: Transaction, fails_at: int) -> None:
        self._inner = inner
        self._left = fails_at

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Failure(Reason.STORAGE_FULL, "the disk is full")

    async def execute(self, sql: str, *args: object) -> int:
        self._count()
        return await self._inner.execute(sql, *args)

    async def fetch(self, sql: str, *args: object) -> list[object]:  # type: ignore[override]
        self._count()
        return await self._inner.fetch(sql, *args)  # type: ignore[return-value]

    async def fetchrow(self, sql: str, *args: object) -> object:  # type: ignore[override]
        self._count()
        return await self._inner.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: object) -> object:
        self._count()
        return await self._inner.fetchval(sql, *args)


class BreakingStore:
    """A store that breaks the transaction at its n-th statement."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.fails_at = 10_000

    @asynccontextmanager
    async def transaction(self, tenant: str) -> AsyncIterator[Transaction]:
        async with self._store.transaction(tenant) as inner:
            yield Breaking(inner, self.fails_at)


async def ignore(done: int, total: int) -> None:
    pass


async def put(importer: Importer, text: str) -> None:
    file = File("a.md", "", "", text.encode())
    await importer.finish(await importer.read(file), ignore)


async def fits(importer: Importer, text: str) -> bool:
    """Whether a document could be stored; False where the disk was full."""
    try:
        await put(importer, text)
    except Failure as failure:
        if failure.reason is Reason.STORAGE_FULL:
            return False
        raise
    return True


async def contents(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """All that is stored, but for ids that a sequence gives."""
    queries = {
        "documents": "SELECT uri, text, fingerprint, update_time FROM documents",
        "passages": "SELECT ordinal, text FROM passages",
        "postings": "SELECT term, count(*) FROM postings GROUP BY term",
        "terms": "SELECT term, passages FROM terms",
        "corpora": "SELECT passages, length FROM corpora",
        "entities": "SELECT key, mention_count, document_count FROM entities",
        "relations": "SELECT subject_id, object_id FROM relations",
    }
    async with store.transaction("default") as tx:
        return {name: sorted(tuple(row) for row in await tx.fetch(sql)) for name, sql in queries.items()}


OLD = "# Zebra\n\nThe Zebra grazes near Mount Kenya. A `zebra` sleeps."
NEW = "# Penguin\n\nThe Penguin swims near Antarctica. A `penguin` dives."


@pytest.mark.parametrize("stored_before", [False, True], ids=["new", "replaced"])
async def test_a_disk_that_fills_up_at_any_statement_changes_nothing(store: Store, stored_before: bool) -> None:
    breaking = BreakingStore(store)
    async with Pool(workers=1) as pool:
        importer = Importer(breaking, pool, Constant())  # type: ignore[arg-type]  # what an importer uses of a store
        if stored_before:
            await put(importer, OLD)
        before = await contents(store)
        for fails_at in range(100):
            breaking.fails_at = fails_at
            if await fits(importer, NEW):
                break
            assert await contents(store) == before
        # One for the lock, and six or more to write.
        assert fails_at >= 7
        assert [row[1] for row in (await contents(store))["documents"]] == [NEW]


async def test_replacing_leaves_the_same_as_importing_anew(store: Store) -> None:
    async with Pool(workers=1) as pool:
        importer = Importer(store, pool, Constant())
        await put(importer, NEW)
        fresh = await contents(store)
        await put(importer, OLD)
        await put(importer, NEW)
        again = await contents(store)
    for table in ("passages", "postings", "terms", "corpora", "entities", "relations"):
        assert again[table] == fresh[table], table
