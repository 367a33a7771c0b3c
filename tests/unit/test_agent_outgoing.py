"""What an agent has said, on its way out: order, frames of text, and the bound."""

from __future__ import annotations

import asyncio

from answermesh.agents.serving.outgoing import QUEUE_LIMIT, Outgoing
from answermesh.v1.finding_pb2 import Finding, Note, TextDelta


class Due:
    """Notes when something may be taken."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.out = Outgoing(self.event.set)

    async def take(self) -> list[Finding]:
        async with asyncio.timeout(10):
            await self.event.wait()
        self.event.clear()
        return self.out.take(100)


def delta(offset: int, text: str) -> Finding:
    return Finding(id=f"delta-{offset}", text_delta=TextDelta(text=text, offset=offset))


def note(text: str) -> Finding:
    return Finding(id=text, note=Note(label="x", text=text))


async def test_the_first_text_goes_at_once_and_what_follows_goes_as_one_delta() -> None:
    due = Due()
    await due.out.put(delta(0, "Raft "))
    first = await due.take()
    for offset, text in ((5, "elects "), (12, "a "), (14, "leader.")):
        await due.out.put(delta(offset, text))
    assert not due.event.is_set()

    assert first == [delta(0, "Raft ")]
    assert await due.take() == [delta(5, "elects a leader.")]


async def test_what_is_no_text_takes_the_text_before_it_along_at_once() -> None:
    due = Due()
    await due.out.put(delta(0, "Raft "))
    await due.take()
    await due.out.put(delta(5, "elects."))
    await due.out.put(note("aside"))

    assert due.event.is_set()
    assert await due.take() == [delta(5, "elects."), note("aside")]


async def test_text_that_does_not_follow_is_left_for_the_orchestrator_to_refuse() -> None:
    due = Due()
    await due.out.put(delta(0, "Raft "))
    await due.out.put(delta(99, "elects."))

    assert await due.take() == [delta(0, "Raft "), delta(99, "elects.")]


async def test_the_agents_own_finding_is_never_changed() -> None:
    due = Due()
    first = delta(0, "Raft ")
    await due.out.put(first)
    await due.out.put(delta(5, "elects."))

    assert first == delta(0, "Raft ")
    assert await due.take() == [delta(0, "Raft elects.")]


async def test_closing_sends_what_waits_for_its_frame() -> None:
    due = Due()
    await due.out.put(delta(0, "Raft "))
    await due.take()
    await due.out.put(delta(5, "elects."))
    due.out.close()

    assert due.event.is_set()
    assert await due.take() == [delta(5, "elects.")]


async def test_an_agent_that_says_too_much_waits_until_some_is_taken_and_may_be_cancelled_there() -> None:
    due = Due()
    for number in range(QUEUE_LIMIT):
        await due.out.put(note(str(number)))
    waiting, left = (asyncio.ensure_future(due.out.put(note(text))) for text in ("waited", "left"))
    await asyncio.sleep(0)
    assert not waiting.done()
    left.cancel()
    taken = due.out.take(QUEUE_LIMIT)
    await waiting

    assert [finding.id for finding in taken] == [str(number) for number in range(QUEUE_LIMIT)]
    assert due.out.take(10) == [note("waited")]
