"""BM25 in SQL against BM25 written down in a few lines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator

import numpy as np
import pytest

from answermesh.knowledge.asked import SQL
from answermesh.knowledge.reading import Passage, Reading
from answermesh.knowledge.storing import Prepared, forget
from answermesh.knowledge.storing import store as put
from answermesh.store import Store, Transaction

# Words that the English dictionary neither drops nor stems.
TEXTS = ("raft log raft", "log disk", "raft", "disk disk disk log", "quorum")


async def put_text(tx: Transaction, number: int, text: str) -> None:
    reading = Reading(text, "", "text/plain", (Passage(0, len(text), (), 0),))
    vector = np.eye(1, 384, dtype=np.float32)[0]
    uri = f"doc{number}"
    await put(tx, [Prepared(uri, uri, "", len(text), b"", b"", reading, "none", [vector])])


@pytest.fixture
async def tx(store: Store) -> AsyncIterator[Transaction]:
    async with store.transaction("default") as one:
        for number, text in enumerate(TEXTS):
            await put_text(one, number, text)
        yield one


def expected(query: str, texts: list[str]) -> dict[str, float]:
    """Scores by text, with the idf that is never negative (Lucene's)."""
    mean = sum(len(text.split()) for text in texts) / len(texts)
    scores: dict[str, float] = {}
    for term in set(query.split()):
        having = [text for text in texts if term in text.split()]
        idf = math.log(1 + (len(texts) - len(having) + 0.5) / (len(having) + 0.5))
        for text in having:
            frequency, length = Counter(text.split())[term], len(text.split())
            weight = frequency * 2.2 / (frequency + 1.2 * (0.25 + 0.75 * length / mean))
            scores[text] = scores.get(text, 0.0) + idf * weight
    return scores


async def found(tx: Transaction, query: str, documents: list[str] | None = None) -> dict[str, float]:
    rows = await tx.fetch(SQL.find_lexical, query, documents, 50)
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    texts = await tx.fetch("SELECT passage_id, text FROM passages")
    by_id = {row["passage_id"]: row["text"] for row in texts}
    return {by_id[row["passage_id"]]: row["score"] for row in rows}


@pytest.mark.parametrize("query", ["raft", "disk log", "raft quorum disk", "absent", "the of"])
async def test_scores_are_those_of_the_formula(tx: Transaction, query: str) -> None:
    assert await found(tx, query) == pytest.approx(expected(query, list(TEXTS)))


async def test_a_deleted_document_changes_the_scores_of_the_others_as_if_it_had_never_been(tx: Transaction) -> None:
    assert await forget(tx, "doc3")
    rest = [text for number, text in enumerate(TEXTS) if number != 3]
    assert await found(tx, "disk log raft") == pytest.approx(expected("disk log raft", rest))


async def test_only_the_documents_asked_for_are_found(tx: Transaction) -> None:
    assert set(await found(tx, "raft log", ["doc1", "doc2"])) == {"log disk", "raft"}
