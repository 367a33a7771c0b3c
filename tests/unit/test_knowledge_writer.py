"""Documents stored together: which, and what one that cannot be stored does to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from answermesh.errors import Failure, Reason
from answermesh.knowledge.reading import Passage, Reading
from answermesh.knowledge.storing import Prepared
from answermesh.knowledge.writer import MAX_PASSAGES, Imported, Writer
from answermesh.v1.document_pb2 import Document
from answermesh.v1.document_service_pb2 import ImportDocumentsResponse


def document(name: str, passages: int = 1) -> Prepared:
    reading = Reading("", "", "text/plain", (Passage(0, 0, (), 0),) * passages)
    return Prepared(name, name, name, 0, b"", b"", reading, "none", [])


class Shelf:
    """A store that keeps what it was given in one call, all or nothing, when it is let."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.refused: dict[str, Exception] = {}
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def store(self, documents: Sequence[Prepared]) -> list[Imported]:
        self.begun.set()
        await self.open.wait()
        for one in documents:
            if one.uri in self.refused:
                raise self.refused[one.uri]
        self.groups.append([one.uri for one in documents])
        return [(ImportDocumentsResponse.OUTCOME_CREATED, Document(uri=one.uri)) for one in documents]


@asynccontextmanager
async def writing(shelf: Shelf) -> AsyncIterator[Writer]:
    writer = Writer(shelf.store)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(writer.run())
        yield writer
        running.cancel()


async def put_while_busy(shelf: Shelf, *documents: Prepared) -> list[Imported | BaseException]:
    """Put a first document, and the others while it is being stored; what became of the others."""
    async with writing(shelf) as writer, asyncio.TaskGroup() as group:
        shelf.open.clear()
        group.create_task(writer.put(document("first")))
        await shelf.begun.wait()
        others = asyncio.gather(*map(writer.put, documents), return_exceptions=True)
        # Put by the tasks of `gather`, which run before what is resumed by the opened shelf.
        shelf.open.set()
        return await others


async def test_a_document_alone_is_stored_at_once() -> None:
    shelf = Shelf()
    async with writing(shelf) as writer:
        outcome, stored = await writer.put(document("a"))
    assert (outcome, stored.uri) == (ImportDocumentsResponse.OUTCOME_CREATED, "a")
    assert shelf.groups == [["a"]]


async def test_what_comes_while_others_are_written_is_stored_together() -> None:
    shelf = Shelf()
    outcomes = await put_while_busy(shelf, document("a"), document("b"), document("c"))
    assert shelf.groups == [["first"], ["a", "b", "c"]]
    assert [outcome[1].uri for outcome in outcomes if isinstance(outcome, tuple)] == ["a", "b", "c"]


async def test_what_is_ready_waits_for_those_on_their_way() -> None:
    shelf = Shelf()
    writer = Writer(shelf.store, lambda: 2, linger_s=60)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(writer.run())
        first = group.create_task(writer.put(document("a")))
        # Its turn, and the writer's, come before the next line is reached again.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert shelf.groups == []
        await asyncio.gather(first, writer.put(document("b")))
        running.cancel()
    assert shelf.groups == [["a", "b"]]


async def test_what_is_ready_does_not_wait_for_ever() -> None:
    shelf = Shelf()
    writer = Writer(shelf.store, lambda: 2, linger_s=0)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(writer.run())
        await writer.put(document("a"))
        running.cancel()
    assert shelf.groups == [["a"]]


async def test_a_group_has_no_more_passages_than_allowed_unless_one_document_has() -> None:
    shelf = Shelf()
    half = MAX_PASSAGES // 2
    await put_while_busy(
        shelf, document("a", half), document("b", half), document("c"), document("long", MAX_PASSAGES * 5)
    )
    assert shelf.groups == [["first"], ["a", "b"], ["c"], ["long"]]


async def test_a_document_that_cannot_be_stored_leaves_the_others_stored() -> None:
    shelf = Shelf()
    shelf.refused["b"] = ValueError("a character that the database does not take")
    a, b, c = await put_while_busy(shelf, document("a"), document("b"), document("c"))
    assert b is shelf.refused["b"]
    assert isinstance(a, tuple)
    assert isinstance(c, tuple)
    assert shelf.groups == [["first"], ["a"], ["c"]]


async def test_a_failure_of_the_database_is_told_to_each_and_not_tried_one_by_one() -> None:
    shelf = Shelf()
    failure = shelf.refused["b"] = Failure(Reason.DATABASE_UNAVAILABLE, "gone")
    assert await put_while_busy(shelf, document("a"), document("b")) == [failure, failure]
    assert shelf.groups == [["first"]]


async def test_one_who_stops_waiting_takes_nothing_from_the_others() -> None:
    shelf = Shelf()
    async with writing(shelf) as writer:
        shelf.open.clear()
        left = asyncio.create_task(writer.put(document("left")))
        await shelf.begun.wait()
        left.cancel()
        shelf.open.set()
        with pytest.raises(asyncio.CancelledError):
            await left
        assert (await writer.put(document("a")))[1].uri == "a"
