"""Queries of which nothing is stored: the same events from memory, and nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc
import pytest

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.query_service import MAX_PARCEL_BYTES, parcels
from answermesh.orchestrator.records.ephemeral import MAX_UNREAD, MemoryLog
from answermesh.rpc.status import failure_from
from answermesh.v1 import query_service_pb2 as pb
from answermesh.v1.finding_pb2 import Finding, Note
from answermesh.v1.query_pb2 import Query, QueryEvent
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from tests.integration.test_orchestrator import agents, ask, breaks, stalls
from tests.scripted_agents import scripted_mesh

EPHEMERAL = pb.AskRequest.DURABILITY_EPHEMERAL


def shape(events: list[QueryEvent]) -> Counter[str]:
    """What happened, whatever the order of agents that run at once."""
    return Counter(f"{event.WhichOneof('event')} {event.finding.WhichOneof('value')}" for event in events)


async def test_the_events_are_those_of_a_stored_query(dsn: str) -> None:
    async with scripted_mesh(dsn, [*agents(graph=breaks).values()]) as channel:
        stored = await ask(channel)
        unstored = await ask(channel, durability=EPHEMERAL)

    assert shape(unstored) == shape(stored)
    assert [event.sequence for event in unstored] == list(range(1, len(unstored) + 1))
    ends = [events[-1].query_ended for events in (stored, unstored)]
    assert ends[0].answer == ends[1].answer
    assert ends[0].usage == ends[1].usage
    assert [end.state for end in ends] == [Query.STATE_PARTIAL] * 2
    assert ends[1].last_sequence == len(unstored)
    assert ends[1].HasField("start_time")


async def test_nothing_is_stored_of_it(dsn: str) -> None:
    async with scripted_mesh(dsn, [*agents().values()]) as channel:
        events = await ask(channel, durability=EPHEMERAL)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await QueryServiceStub(channel).GetQuery(pb.GetQueryRequest(name=events[0].query), timeout=10)

    assert failure_from(error.value).reason is Reason.NOT_FOUND


async def test_its_agents_stop_when_its_reader_hangs_up(dsn: str) -> None:
    team = agents(retrieval=stalls)
    async with scripted_mesh(dsn, [*team.values()]) as channel:
        call = QueryServiceStub(channel).Ask(pb.AskRequest(question="Well?", durability=EPHEMERAL), timeout=30)
        await call.read()
        await asyncio.wait_for(team["retrieval"].started.wait(), 10)
        call.cancel()
        await asyncio.wait_for(team["retrieval"].cancelled.wait(), 10)


@pytest.mark.parametrize("durability", [EPHEMERAL, pb.AskRequest.DURABILITY_DURABLE])
async def test_a_batched_reader_gets_every_event_once_and_in_order(
    dsn: str, durability: pb.AskRequest.Durability.ValueType
) -> None:
    async with scripted_mesh(dsn, [*agents().values()]) as channel:
        request = pb.AskRequest(question="Well?", durability=durability, batched=True)
        responses = [response async for response in QueryServiceStub(channel).Ask(request, timeout=30)]

    events = [event for response in responses for event in (response.event, *response.more)]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[-1].query_ended.state == Query.STATE_SUCCEEDED
    assert len(responses) < len(events)


def note(size: int) -> QueryEvent:
    return QueryEvent(finding=Finding(id="x", note=Note(label="x", text="x" * size)))


def test_a_parcel_holds_as_much_as_a_message_should_and_at_least_one_event() -> None:
    events = [note(10), note(MAX_PARCEL_BYTES), note(10), note(MAX_PARCEL_BYTES // 2), note(MAX_PARCEL_BYTES // 2)]
    together = [list(parcel) for parcel in parcels(events)]

    assert [len(parcel) for parcel in together] == [1, 1, 2, 1]
    assert [event for parcel in together for event in parcel] == events


async def test_a_reader_that_falls_behind_holds_the_agents_back_until_it_reads_on() -> None:
    log = MemoryLog(Query(name="queries/1", state=Query.STATE_QUEUED))
    log.append(*(note(1) for _ in range(MAX_UNREAD)))
    held = asyncio.ensure_future(log.room())
    await asyncio.sleep(0)
    assert not held.done()

    events = await anext(log.watch())
    await held
    assert [event.sequence for event in events] == list(range(1, MAX_UNREAD + 2))


async def test_a_log_that_failed_frees_who_waits_for_room_with_the_reason() -> None:
    log = MemoryLog(Query(name="queries/1", state=Query.STATE_QUEUED))
    log.append(*(note(1) for _ in range(MAX_UNREAD)))
    held = asyncio.ensure_future(log.room())
    await asyncio.sleep(0)
    log.fail(Failure(Reason.INTERNAL, "over"))
    with pytest.raises(Failure, match="over"):
        await held


async def test_what_comes_within_a_frame_is_given_together_and_the_end_at_once() -> None:
    log = MemoryLog(Query(name="queries/1", state=Query.STATE_QUEUED))
    lists = log.watch(frame_s=3600)
    first = await anext(lists)
    log.append(note(1))
    log.append(note(1))
    coming = asyncio.ensure_future(anext(lists))
    await asyncio.sleep(0)
    log.append(QueryEvent(query_ended=Query(state=Query.STATE_SUCCEEDED)))
    rest = await asyncio.wait_for(coming, 10)

    assert [event.sequence for event in (*first, *rest)] == [1, 2, 3, 4]
    assert len(first) == 1
