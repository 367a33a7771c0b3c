"""The orchestrator's side of a stream that many runs share, before a server that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.rpc.status_pb2 import Status

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.reaching.agent_run import Refused, Task
from answermesh.orchestrator.reaching.shared_stream import FIRST_CREDIT, SharedStream
from answermesh.rpc.channel import open_channel
from answermesh.rpc.server import Server
from answermesh.v1.agent_service_pb2 import RunManyRequest, RunManyResponse, RunRequest
from answermesh.v1.agent_service_pb2_grpc import AgentServiceServicer, add_AgentServiceServicer_to_server
from answermesh.v1.finding_pb2 import Finding, Note

Part = RunManyResponse.Part
Script = Callable[[AsyncIterator[RunManyRequest.Part], Callable[..., Any]], Any]


class Scripted(AgentServiceServicer):
    """Each stream follows the next script; the last one again and again."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.streams = 0

    async def RunMany(self, requests: AsyncIterator[RunManyRequest], context: Any) -> None:
        self.streams += 1
        script = self._scripts[min(self.streams, len(self._scripts)) - 1]

        async def parts() -> AsyncIterator[RunManyRequest.Part]:
            async for request in requests:
                for part in request.parts:
                    yield part

        async def say(*said: Part, draining: bool = False) -> None:
            await context.write(RunManyResponse(parts=said, draining=draining))

        await script(parts(), say)


class Heard:
    """A sink that remembers."""

    def __init__(self, holds: Callable[[], Any] | None = None) -> None:
        self.texts: list[str] = []
        self.ended: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()
        self._holds = holds

    def heard(self, findings: Sequence[Finding], usage: Sequence[Any]) -> Callable[[], Any] | None:
        self.texts += [finding.note.text for finding in findings]
        return self._holds

    def over(self, failure: Failure | None) -> None:
        self.ended.set_result(failure)

    async def end(self) -> Failure | None:
        return await asyncio.wait_for(self.ended, 20)


def task(name: str = "1") -> Task:
    return Task(RunRequest.Start(query=f"queries/{name}", question="Well?"), 30.0)


def note(text: str) -> Finding:
    return Finding(id=text, note=Note(label="x", text=text))


@asynccontextmanager
async def stream_to(agent: AgentServiceServicer | None) -> AsyncIterator[SharedStream]:
    server = Server("127.0.0.1:0", drain_wait_s=0)
    if agent is not None:
        server.add(add_AgentServiceServicer_to_server, agent)
    address = await server.start()
    try:
        async with open_channel(address) as channel, asyncio.TaskGroup() as tasks:
            stream = SharedStream(channel, tasks)
            yield stream
            stream.close()
    finally:
        await server.drain(0.0)


async def answering(parts: Any, say: Any) -> None:
    async for part in parts:
        if part.HasField("start"):
            await say(Part(run=part.run, findings=[note(part.start.query)], end=Status()))


async def test_runs_share_one_stream_and_each_hears_its_own() -> None:
    agent = Scripted(answering)
    async with stream_to(agent) as stream:
        sinks = [Heard() for _ in range(20)]
        for number, sink in enumerate(sinks):
            stream.start(task(str(number)), sink)
        ends = [await sink.end() for sink in sinks]

    assert agent.streams == 1
    assert ends == [None] * 20
    assert [sink.texts for sink in sinks] == [[f"queries/{number}"] for number in range(20)]


async def test_a_stream_that_breaks_ends_all_its_runs_and_the_next_run_opens_another() -> None:
    async def breaking(parts: Any, say: Any) -> None:
        await anext(parts)
        raise RuntimeError("no more")

    agent = Scripted(breaking, answering)
    async with stream_to(agent) as stream:
        first, second, third = Heard(), Heard(), Heard()
        stream.start(task(), first)
        stream.start(task(), second)
        ends = [await first.end(), await second.end()]
        stream.start(task("3"), third)
        assert await third.end() is None

    assert [end.reason for end in ends if end] == [Reason.SERVICE_UNAVAILABLE] * 2
    assert third.texts == ["queries/3"]


async def test_an_agent_without_the_method_refuses_and_has_seen_nothing() -> None:
    async with stream_to(None) as stream:
        sink = Heard()
        stream.start(task(), sink)
        end = await sink.end()
        refused = stream.refused

    assert isinstance(end, Refused)
    assert refused


async def test_a_run_that_begins_as_the_stream_is_drained_waits_for_the_next_one() -> None:
    half_closed, begun = asyncio.Event(), asyncio.Event()

    async def draining(parts: Any, say: Any) -> None:
        part = await anext(parts)
        await say(draining=True)
        await say(Part(run=part.run, end=Status()))
        assert await anext(parts, None) is None
        half_closed.set()
        await begun.wait()

    agent = Scripted(draining, answering)
    async with stream_to(agent) as stream:
        first, second = Heard(), Heard()
        stream.start(task(), first)
        assert await first.end() is None
        await asyncio.wait_for(half_closed.wait(), 20)
        stream.start(task("2"), second)
        begun.set()
        assert await second.end() is None

    assert second.texts == ["queries/2"]
    assert agent.streams == 2


async def test_no_more_is_sent_than_the_agent_grants() -> None:
    got = 0
    first_lot, granted = asyncio.Event(), asyncio.Event()

    async def stingy(parts: Any, say: Any) -> None:
        nonlocal got
        async for part in parts:
            got += len(part.findings)
            if got >= FIRST_CREDIT and not first_lot.is_set():
                first_lot.set()
                await granted.wait()
                await say(Part(run=part.run, credit=10))
            if got == FIRST_CREDIT + 10:
                await say(Part(run=part.run, end=Status()))

    async with stream_to(Scripted(stingy)) as stream:
        sink = Heard()
        run = stream.start(task(), sink)
        run.give(note(str(number)) for number in range(2000))
        await asyncio.wait_for(first_lot.wait(), 20)
        assert got == FIRST_CREDIT
        assert run.is_full
        granted.set()
        assert await sink.end() is None

    assert got == FIRST_CREDIT + 10


async def test_an_agent_whose_findings_nobody_can_take_in_is_granted_no_more_until_they_can() -> None:
    grants: list[int] = []
    granted, free = asyncio.Event(), asyncio.Event()

    async def telling(parts: Any, say: Any) -> None:
        part = await anext(parts)
        await say(Part(run=part.run, findings=[note(str(number)) for number in range(FIRST_CREDIT)]))
        async for part in parts:
            grants.append(part.credit)
            granted.set()

    async with stream_to(Scripted(telling)) as stream:
        sink = Heard(free.wait)
        stream.start(task(), sink)
        async with asyncio.timeout(20):
            while len(sink.texts) < FIRST_CREDIT:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0)
        assert grants == []
        free.set()
        await asyncio.wait_for(granted.wait(), 20)

    assert grants == [FIRST_CREDIT]


async def test_what_an_agent_must_not_say_cancels_its_run_and_no_other() -> None:
    cancelled = asyncio.Event()

    async def lying(parts: Any, say: Any) -> None:
        async for part in parts:
            if part.cancel:
                cancelled.set()
            elif part.HasField("start"):
                await say(Part(run=part.run, findings=[note(part.start.query)]))
                if part.start.query == "queries/honest":
                    await say(Part(run=part.run, end=Status()))

    class Refusing(Heard):
        def heard(self, findings: Sequence[Finding], usage: Sequence[Any]) -> None:
            raise Failure(Reason.INVALID_CARD, "It lies.")

    async with stream_to(Scripted(lying)) as stream:
        liar, honest = Refusing(), Heard()
        stream.start(task("liar"), liar)
        stream.start(task("honest"), honest)
        end = await liar.end()
        await asyncio.wait_for(cancelled.wait(), 20)
        assert await honest.end() is None

    assert end is not None
    assert end.reason is Reason.INVALID_CARD


@pytest.mark.parametrize("begun", [False, True])
async def test_a_cancelled_run_hears_nothing_more(begun: bool) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def waiting(parts: Any, say: Any) -> None:
        async for part in parts:
            if part.cancel:
                await say(Part(run=part.run, findings=[note("late")], end=Status()))
                cancelled.set()
            elif part.start.query == "queries/other":
                await say(Part(run=part.run, end=Status()))
            else:
                started.set()

    async with stream_to(Scripted(waiting)) as stream:
        sink, other = Heard(), Heard()
        run = stream.start(task(), sink)
        if begun:
            await asyncio.wait_for(started.wait(), 20)
        run.cancel()
        if begun:
            await asyncio.wait_for(cancelled.wait(), 20)
        stream.start(task("other"), other)
        assert await other.end() is None
        assert not sink.ended.done()

    assert sink.texts == []
    assert begun or not started.is_set()
