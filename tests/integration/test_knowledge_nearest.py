"""How far the search by vectors looks, on a real Postgres."""

from __future__ import annotations

import numpy as np
import pytest

from answermesh.knowledge.asked import SETTINGS, SQL
from answermesh.store import Store


@pytest.mark.parametrize(
    ("passages", "candidates"), [(0, "40"), (10_000, "45"), (1_000_000, "450"), (100_000_000, "1000")]
)
async def test_the_index_looks_at_more_candidates_in_a_larger_corpus(
    store: Store, passages: int, candidates: str
) -> None:
    vector = np.eye(1, 384, dtype=np.float32)[0]
    async with store.transaction("default", SETTINGS) as tx:
        await tx.execute("INSERT INTO corpora (passages, length) VALUES ($1, 0)", passages)
        await tx.fetch(SQL.get_candidates, [], "a question", vector, "none", 30)
        assert await tx.fetchval("SHOW hnsw.ef_search") == candidates
    async with store.transaction("default", SETTINGS) as tx:
        assert await tx.fetchval("SHOW hnsw.ef_search") == "40"


async def test_a_search_before_the_first_import_finds_nothing(store: Store) -> None:
    vector = np.eye(1, 384, dtype=np.float32)[0]
    async with store.transaction("default", SETTINGS) as tx:
        assert await tx.fetch(SQL.get_candidates, [], "a question", vector, "none", 30) == []
