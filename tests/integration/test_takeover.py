"""The orchestrator that answers a query dies or hangs in the middle of it, and another goes on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest

from answermesh.client import Client
from answermesh.client.members import chosen
from answermesh.typed.answermesh import v1
from answermesh.v1 import query_service_pb2 as pb
from answermesh.v1.agent_service_pb2 import RunRequest, RunResponse
from answermesh.v1.finding_pb2 import Finding, TextDelta
from answermesh.v1.query_pb2 import Query, QueryEvent
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from tests.integration.test_orchestrator import TEXT, agents, synthesis, watch
from tests.orchestrator_process import Orchestrator, orchestrator
from tests.scripted_agents import ScriptedAgent, found, scripted_mesh, serving

FIRST = TEXT[:8]


class Author:
    """Writes the first characters, and the rest when it is let."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.first = FIRST

    async def script(self, start: RunRequest.Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
        first = self.first
        yield found(Finding(text_delta=TextDelta(text=first)))
        await self.gate.wait()
        async for response in synthesis(start, inputs):
            for finding in response.findings:
                if finding.HasField("text_delta"):
                    rest = finding.text_delta.text.removeprefix(first)
                    finding.text_delta.CopyFrom(TextDelta(text=rest, offset=len(first)))
                    finding.id = "rest"
            yield response


@asynccontextmanager
async def pair(
    dsn: str, folder: Path, team: dict[str, ScriptedAgent]
) -> AsyncIterator[tuple[Orchestrator, Orchestrator]]:
    """Two orchestrators over the same agents."""
    async with AsyncExitStack() as stack:
        targets = {name: await stack.enter_async_context(serving(agent)) for name, agent in team.items()}
        async with asyncio.TaskGroup() as starting:
            both = [
                starting.create_task(stack.enter_async_context(orchestrator(dsn, folder / name, targets)))
                for name in ("first", "second")
            ]
        yield both[0].result(), both[1].result()


async def until_text(call: AsyncIterator[pb.AskResponse]) -> list[QueryEvent]:
    """The events of an answer up to its first text."""
    seen = []
    async for response in call:
        seen.append(response.event)
        if response.event.finding.HasField("text_delta"):
            return seen
    raise AssertionError("the answer ended without text")


def check_whole(seen: list[QueryEvent], rest: list[QueryEvent], stored: list[QueryEvent]) -> None:
    """What a reader saw of both owners is the journal, once and in order."""
    seen = [event for event in seen if not event.HasField("heartbeat")]
    assert seen + rest == stored
    assert [event.sequence for event in stored] == list(range(1, len(stored) + 1))
    assert stored[-1].query_ended.state == Query.STATE_SUCCEEDED
    assert stored[-1].query_ended.answer.text == TEXT


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_query_goes_on_elsewhere_when_its_owner_dies_or_hangs(
    dsn: str, tmp_path: Path, how: signal.Signals
) -> None:
    author = Author()
    team = agents(synthesis=author.script)
    async with pair(dsn, tmp_path, team) as (first, second):
        call = QueryServiceStub(first.channel).Ask(pb.AskRequest(question="Well?"), timeout=60)
        seen = await until_text(aiter(call))
        name = seen[0].query
        # Of the agents, entities and retrieval have ended by then.
        ended_before = {e.agent_ended.agent for e in await so_far(second, name) if e.HasField("agent_ended")}
        first.signal(how)
        watching = asyncio.create_task(watch(second.channel, name, seen[-1].sequence))
        async with asyncio.timeout(20):
            await team["synthesis"].runs(2)
        author.gate.set()
        rest = await watching
        if how is signal.SIGSTOP:
            first.signal(signal.SIGCONT)
            # The former owner wakes, and tells its own reader what happened elsewhere.
            resumed = [response.event async for response in call if not response.event.HasField("heartbeat")]
            assert resumed[-1] == rest[-1]
        stored = await watch(second.channel, name)

    check_whole(seen, rest, stored)
    assert {"entities", "retrieval"} <= ended_before
    starts = [event.agent_started.agent for event in stored if event.HasField("agent_started")]
    assert {agent for agent in team if starts.count(agent) == 1} == ended_before
    assert all(len(team[agent].starts) == 1 for agent in ended_before)


async def so_far(where: Orchestrator, name: str) -> list[QueryEvent]:
    """The events of a query once entities and retrieval have ended in it."""
    call = QueryServiceStub(where.channel).WatchQuery(pb.WatchQueryRequest(name=name), timeout=30)
    events: list[QueryEvent] = []
    try:
        async for response in call:
            events.append(response.event)
            if {"entities", "retrieval", "graph"} <= {e.agent_ended.agent for e in events}:
                return events
    finally:
        call.cancel()
    raise AssertionError("the query ended")


async def test_an_author_that_words_its_text_differently_after_a_takeover_leaves_it_partial(
    dsn: str, tmp_path: Path
) -> None:
    author = Author()
    team = agents(synthesis=author.script)
    async with pair(dsn, tmp_path, team) as (first, second):
        call = QueryServiceStub(first.channel).Ask(pb.AskRequest(question="Well?"), timeout=60)
        seen = await until_text(aiter(call))
        author.first = "Paxos it is"
        await first.kill()
        rest = await watch(second.channel, seen[0].query, seen[-1].sequence)

    final = rest[-1].query_ended
    assert final.state == Query.STATE_PARTIAL
    assert final.answer.text == FIRST
    assert "worded its text differently" in final.failures[0].error.message


async def test_a_query_that_is_cancelled_at_another_orchestrator_stops_where_it_runs(dsn: str, tmp_path: Path) -> None:
    author = Author()
    team = agents(synthesis=author.script)
    async with pair(dsn, tmp_path, team) as (first, second):
        call = QueryServiceStub(first.channel).Ask(pb.AskRequest(question="Well?"), timeout=60)
        seen = await until_text(aiter(call))
        cancel = pb.CancelQueryRequest(name=seen[0].query)
        cancelled = (await QueryServiceStub(second.channel).CancelQuery(cancel, timeout=10)).query
        async with asyncio.timeout(10):
            await team["synthesis"].cancelled.wait()
        last = [response.event async for response in call][-1]

    assert cancelled.state == Query.STATE_CANCELLED
    assert last.query_ended == cancelled


async def test_the_client_reads_on_at_the_new_owner_by_itself(dsn: str, tmp_path: Path) -> None:
    author = Author()
    team = agents(synthesis=author.script)
    async with pair(dsn, tmp_path, team) as (first, second), Client(f"{first.address},{second.address}") as client:
        seen = []
        async for event in client.ask("Well?"):
            seen.append(event)
            kind, value = chosen(event, "event")
            if kind == "finding" and value.agent == "synthesis" and not author.gate.is_set():
                author.gate.set()
                await first.kill()
        stored = [event async for event in client.watch(seen[0].query)]

    assert seen == stored
    assert stored[-1].query_ended.state == v1.QueryState.STATE_SUCCEEDED
    assert stored[-1].query_ended.answer.text == TEXT


@pytest.mark.parametrize(("linger_s", "goes_on"), [(0, False), (0.2, False), (30, True)])
async def test_an_answer_waits_for_its_reader_as_long_as_it_was_asked_to(
    dsn: str, linger_s: float, goes_on: bool
) -> None:
    author = Author()
    team = agents(synthesis=author.script)
    async with scripted_mesh(dsn, [*team.values()]) as channel:
        request = pb.AskRequest(question="Well?")
        request.linger.FromMilliseconds(int(linger_s * 1000))
        call = QueryServiceStub(channel).Ask(request, timeout=60)
        seen = await until_text(aiter(call))
        call.cancel()
        if not goes_on:
            await asyncio.wait_for(team["synthesis"].cancelled.wait(), 10)
        author.gate.set()
        rest = await watch(channel, seen[0].query, seen[-1].sequence)

    assert rest[-1].query_ended.state == (Query.STATE_SUCCEEDED if goes_on else Query.STATE_CANCELLED)


async def test_an_orchestrator_that_is_told_to_stop_hands_its_queries_over(dsn: str, tmp_path: Path) -> None:
    author = Author()
    team = agents(synthesis=author.script)
    async with pair(dsn, tmp_path, team) as (first, second):
        call = QueryServiceStub(first.channel).Ask(pb.AskRequest(question="Well?"), timeout=60)
        seen = await until_text(aiter(call))
        first.signal(signal.SIGTERM)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for response in call:
                seen.append(response.event)
        author.gate.set()
        rest = await watch(second.channel, seen[0].query, seen[-1].sequence)
        stored = await watch(second.channel, seen[0].query)

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    check_whole(seen, rest, stored)


async def test_an_answer_that_is_not_stored_goes_on_at_an_orchestrator_that_is_told_to_stop(
    dsn: str, tmp_path: Path
) -> None:
    author = Author()
    team = agents(synthesis=author.script)
    async with pair(dsn, tmp_path, team) as (first, _):
        stub = QueryServiceStub(first.channel)
        stored = stub.Ask(pb.AskRequest(question="Well?"), timeout=60)
        await until_text(aiter(stored))
        request = pb.AskRequest(question="Well?", durability=pb.AskRequest.DURABILITY_EPHEMERAL)
        unstored = stub.Ask(request, timeout=60)
        seen = await until_text(aiter(unstored))
        first.signal(signal.SIGTERM)
        # Those that others can go on with have been left to them.
        with pytest.raises(grpc.aio.AioRpcError):
            async for _response in stored:
                pass
        author.gate.set()
        seen += [response.event async for response in unstored]
        async with asyncio.timeout(10):
            await first.process.wait()

    assert seen[-1].query_ended.state == Query.STATE_SUCCEEDED
    assert seen[-1].query_ended.answer.text == TEXT
