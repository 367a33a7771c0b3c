"""Small documents of one stream share a transaction on a real Postgres, and are reported only when it is committed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest

from answermesh.knowledge.entities import extract
from answermesh.knowledge.importing import Importer
from answermesh.knowledge.pool import Pool
from answermesh.knowledge.reading import Passage, Reading
from answermesh.knowledge.storing import Prepared
from answermesh.knowledge.uploads import import_all
from answermesh.rpc.deadline import fail_after
from answermesh.store import Store
from answermesh.v1.document_pb2 import Document
from answermesh.v1.document_service_pb2 import ImportDocumentsRequest, ImportDocumentsResponse
from tests.integration.test_knowledge_outage import Constant, contents

Outcome = ImportDocumentsResponse
COUNT = 12


@pytest.fixture
async def importer(store: Store) -> AsyncIterator[Importer]:
    async with Pool(workers=1) as pool:
        yield Importer(store, pool, Constant())


def text(number: int) -> str:
    return f"The Penguin number {number} swims near Antarctica."


async def requests() -> AsyncIterator[ImportDocumentsRequest]:
    for number in range(COUNT):
        yield ImportDocumentsRequest(start=Document(uri=f"{number}.txt"))
        yield ImportDocumentsRequest(chunk=text(number).encode())


def prepared(name: str, content: str) -> Prepared:
    passage = Passage(0, len(content), (), 0, tuple(extract(content)))
    vector = np.eye(1, 384, dtype=np.float32)[0]
    return Prepared(name, name, "", len(content), b"", b"", Reading(content, "", "", (passage,)), "none", [vector])


async def transactions(store: Store) -> int:
    """How many transactions wrote the documents that are stored."""
    async with store.transaction("default") as tx:
        return int(await tx.fetchval("SELECT count(DISTINCT xmin::text) FROM documents"))


async def stored_uris(store: Store) -> set[str]:
    """Documents that are stored, each with its passages."""
    async with store.transaction("default") as tx:
        rows = await tx.fetch(
            """SELECT uri, passage_count, (SELECT count(*) FROM passages p WHERE p.document_id = d.document_id)
               FROM documents d"""
        )
    assert all(row[1] == row[2] for row in rows)
    return {row[0] for row in rows}


async def test_what_is_ready_together_is_written_in_few_transactions(importer: Importer, store: Store) -> None:
    created: list[str] = []

    async def write(response: ImportDocumentsResponse) -> None:
        assert response.outcome == Outcome.OUTCOME_CREATED, response
        assert response.uri in await stored_uris(store)
        created.append(response.uri)

    async with fail_after(60):
        await import_all(importer, requests(), write)
    assert len(set(created)) == len(created) == COUNT
    assert await transactions(store) < COUNT


async def test_a_stream_that_breaks_off_has_stored_all_that_it_reported(importer: Importer, store: Store) -> None:
    class HungUpError(Exception):
        pass

    reported: set[str] = set()

    async def write(response: ImportDocumentsResponse) -> None:
        if response.outcome == Outcome.OUTCOME_CREATED:
            if len(reported) == 2:
                raise HungUpError
            reported.add(response.uri)

    with pytest.raises(ExceptionGroup) as caught:
        await import_all(importer, requests(), write)
    assert caught.group_contains(HungUpError)
    assert len(reported) == 2
    assert reported <= await stored_uris(store)
    # What is left is taken in by the next import, as if nothing had happened.
    outcomes: list[int] = []

    async def note(response: ImportDocumentsResponse) -> None:
        if response.outcome != Outcome.OUTCOME_PROGRESS:
            outcomes.append(response.outcome)

    await import_all(importer, requests(), note)
    assert set(outcomes) <= {Outcome.OUTCOME_CREATED, Outcome.OUTCOME_UNCHANGED}
    assert len(await stored_uris(store)) == COUNT


async def test_documents_stored_together_leave_the_same_as_one_by_one(importer: Importer, store: Store) -> None:
    documents = [prepared(f"{number}", text(number)) for number in range(4)]
    for one in documents:
        await importer.store([one])
    apart = await contents(store)
    # Replaced together, and then made anew together.
    await importer.store(documents)
    replaced = await contents(store)
    for one in documents:
        assert await importer.delete(one.document_id)
    await importer.store(documents)
    anew = await contents(store)
    for table in ("passages", "postings", "terms", "corpora", "entities", "relations"):
        assert replaced[table] == apart[table], table
        assert anew[table] == apart[table], table


async def test_a_group_with_a_document_that_postgres_refuses_stores_nothing(importer: Importer, store: Store) -> None:
    bad = prepared("bad", "A character that Postgres has not: \0.")
    with pytest.raises(Exception, match="invalid byte sequence"):
        await importer.store([prepared("good", text(1)), bad])
    assert await stored_uris(store) == set()
