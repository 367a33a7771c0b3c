"""Cancel a query at every point it can be cancelled at, then show that nothing is left of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from answermesh.orchestrator.reaching.outbox import MAX_WAITING, Outbox
from answermesh.v1 import query_service_pb2 as pb
from answermesh.v1.finding_pb2 import Finding
from answermesh.v1.query_pb2 import Query
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from tests.integration.test_orchestrator import SCRIPTS, agents, ask, stalls, watch
from tests.scripted_agents import WAYS, agents_reached_by, scripted_mesh


@pytest.fixture(autouse=True, params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """All that holds of runs on streams of their own holds of runs that share one."""
    with agents_reached_by(request.param):
        yield


async def quiet(baseline: int) -> None:
    """Wait until no more tasks run than before."""
    async with asyncio.timeout(10):
        # Nothing tells when a task is gone; each turn of the loop brings that nearer.
        while len(asyncio.all_tasks()) > baseline:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_a_reader_may_hang_up_after_any_event_and_nothing_is_left(dsn: str) -> None:
    async with scripted_mesh(dsn, [*agents().values()]) as channel:
        length = len(await ask(channel))
        names = []
        baseline = len(asyncio.all_tasks())
        for count in range(length):
            call = QueryServiceStub(channel).Ask(pb.AskRequest(question="Well?"), timeout=30)
            seen = [(await call.read()).event for _ in range(count + 1)]
            call.cancel()
            names.append(seen[0].query)
        finals = [(await watch(channel, name))[-1] for name in names]
        await quiet(baseline)
        after = (await ask(channel))[-1].query_ended

    assert {event.query_ended.state for event in finals} <= {Query.STATE_CANCELLED, Query.STATE_SUCCEEDED}
    assert after.state == Query.STATE_SUCCEEDED


async def test_a_watcher_may_leave_after_any_event_and_the_query_goes_on(dsn: str) -> None:
    async with scripted_mesh(dsn, [*agents().values()]) as channel:
        events = await ask(channel)
        baseline = len(asyncio.all_tasks())
        for count in range(len(events)):
            watching = QueryServiceStub(channel).WatchQuery(pb.WatchQueryRequest(name=events[0].query), timeout=30)
            seen = [(await watching.read()).event for _ in range(count + 1)]
            watching.cancel()
            assert seen == events[: count + 1]
        await quiet(baseline)


@pytest.mark.parametrize("agent", sorted(SCRIPTS))
async def test_cancelling_while_any_one_agent_stalls_cancels_that_agent(dsn: str, agent: str) -> None:
    team = agents(**{agent: stalls})

    async def hang_up() -> None:
        call = QueryServiceStub(channel).Ask(pb.AskRequest(question="Well?"), timeout=30)
        await call.read()
        await asyncio.wait_for(team[agent].started.wait(), 10)
        call.cancel()
        await asyncio.wait_for(team[agent].cancelled.wait(), 10)
        team[agent].started.clear()
        team[agent].cancelled.clear()

    async with scripted_mesh(dsn, [*team.values()]) as channel:
        # The first time opens streams that stay.
        await hang_up()
        baseline = len(asyncio.all_tasks())
        for _ in range(200):
            await asyncio.sleep(0)
            baseline = min(baseline, len(asyncio.all_tasks()))
        await hang_up()
        await quiet(baseline)


async def test_an_orchestrator_that_stops_leaves_its_queries_to_the_next(dsn: str) -> None:
    team = agents(retrieval=stalls)
    async with scripted_mesh(dsn, [*team.values()]) as channel:
        queries = QueryServiceStub(channel)
        query = (await queries.CreateQuery(pb.CreateQueryRequest(query=Query(question="Well?")), timeout=10)).query
        await asyncio.wait_for(team["retrieval"].started.wait(), 10)
    async with scripted_mesh(dsn, [*agents().values()]) as channel:
        events = await watch(channel, query.name)

    assert events[-1].query_ended.state == Query.STATE_SUCCEEDED
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


async def test_a_full_outbox_holds_its_writer_back_until_the_reader_takes_some() -> None:
    outbox = Outbox()
    outbox.put(Finding(id=str(number)) for number in range(MAX_WAITING + 1))
    waiting = asyncio.ensure_future(outbox.room())
    await asyncio.sleep(0)
    held = not waiting.done()
    batches = outbox.batches()
    await anext(batches)
    await waiting

    assert held


async def test_a_writer_that_waits_for_room_is_freed_when_the_outbox_is_dropped() -> None:
    outbox = Outbox()
    outbox.put(Finding(id=str(number)) for number in range(MAX_WAITING + 1))
    waiting = asyncio.ensure_future(outbox.room())
    await asyncio.sleep(0)
    outbox.drop()
    await waiting

    assert [batch async for batch in outbox.batches()] == []
