"""A caller that hangs up at any await leaves nothing behind: no task, no call on any hop; and the next call works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from answermesh.rpc.channel import open_channel
from answermesh.rpc.deadline import fail_after, remaining_s
from answermesh.rpc.server import Server
from answermesh.v1 import agent_service_pb2, document_service_pb2, query_service_pb2
from answermesh.v1.agent_service_pb2_grpc import AgentServiceStub
from answermesh.v1.document_service_pb2_grpc import DocumentServiceStub
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from tests.wire.servers import agent, documents, queries, serving

ASK = query_service_pb2.AskRequest(question="What is a lease?")
START = agent_service_pb2.RunRequest(start={"query": "queries/q1", "question": "What is a lease?"})
CHUNK = document_service_pb2.ImportDocumentsRequest(chunk=b"x")


@dataclass
class Stops:
    """Points in the handlers; a call waits for ever at the one that is chosen."""

    chosen: str = ""
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def at(self, point: str) -> None:
        if point == self.chosen:
            self.reached.set()
            await asyncio.Event().wait()


class Mesh:
    """Ask is served by a front, which runs an agent on another server; ImportDocuments is passed on by the front."""

    def __init__(self) -> None:
        self.stops = Stops()
        self.agent_channel: Any = None

    async def ask(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self.stops.at("front, before it calls")
        call = AgentServiceStub(self.agent_channel).Run(self.requests())
        try:
            async for _ in call:
                await self.stops.at("front, with a finding")
                yield query_service_pb2.AskResponse()
                await self.stops.at("front, after a response")
        finally:
            call.cancel()
        await self.stops.at("front, after the agent ended")

    async def requests(self) -> AsyncIterator[Any]:
        yield START
        await self.stops.at("front, before the second request")
        yield START

    async def run(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        await self.stops.at("agent, before it reads")
        async for _ in requests:
            await self.stops.at("agent, with a request")
            yield agent_service_pb2.RunResponse()
            await self.stops.at("agent, after a response")
        await self.stops.at("agent, at the half-close")

    async def import_documents(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        await self.stops.at("upstream, before it reads")
        async for _ in requests:
            await self.stops.at("upstream, with a request")
            yield document_service_pb2.ImportDocumentsResponse()
            await self.stops.at("upstream, after a response")
        await self.stops.at("upstream, at the half-close")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[grpc.aio.Channel]:
        async with AsyncExitStack() as stack:
            self.back, back = await stack.enter_async_context(
                serving(agent(Run=self.run), documents(ImportDocuments=self.import_documents))
            )
            self.agent_channel = await stack.enter_async_context(open_channel(back))
            self.front = Server("127.0.0.1:0", drain_wait_s=0.0)
            stack.push_async_callback(self.front.drain, 0.0)
            self.front.add(*queries(Ask=self.ask))
            self.front.forward("answermesh.v1.DocumentService", self.agent_channel)
            yield await stack.enter_async_context(open_channel(await self.front.start()))


async def ask(channel: grpc.aio.Channel) -> int:
    call = QueryServiceStub(channel).Ask(ASK)
    try:
        return len([response async for response in call])
    finally:
        call.cancel()


async def import_documents(channel: grpc.aio.Channel) -> int:
    call = DocumentServiceStub(channel).ImportDocuments(iter([CHUNK, CHUNK]))
    try:
        return len([response async for response in call])
    finally:
        call.cancel()


async def settled(mesh: Mesh, tasks: int | None = None) -> int:
    """Wait until no call is served but for the channels' health checks, and no more than `tasks` tasks are left.

    All that comes by itself if nothing leaked. Tasks are counted, since a grpc.aio server replaces the one that waits
    for the next call with each call. Returns how many there are.
    """
    this = asyncio.current_task()
    async with asyncio.timeout(10):
        while mesh.front.call_count > 1 or mesh.back.call_count > 1 or len(asyncio.all_tasks()) > (tasks or 1000):
            await asyncio.wait(asyncio.all_tasks() - {this}, return_when=asyncio.FIRST_COMPLETED)
    return len(asyncio.all_tasks())


POINTS = [
    *[(ask, f"front, {point}") for point in ("before it calls", "with a finding", "after a response")],
    *[(ask, f"front, {point}") for point in ("after the agent ended", "before the second request")],
    *[(ask, f"agent, {point}") for point in ("before it reads", "with a request", "after a response")],
    (ask, "agent, at the half-close"),
    *[(import_documents, f"upstream, {p}") for p in ("before it reads", "with a request", "after a response")],
    (import_documents, "upstream, at the half-close"),
]


@pytest.mark.parametrize(("use", "point"), POINTS)
async def test_a_caller_that_hangs_up_leaves_nothing_behind(use: Any, point: str) -> None:
    mesh = Mesh()
    async with mesh.open() as channel:
        assert await use(channel) == 2
        before = await settled(mesh)
        mesh.stops.chosen = point
        caller = asyncio.ensure_future(use(channel))
        async with asyncio.timeout(10):
            await mesh.stops.reached.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await settled(mesh, before)
        mesh.stops.chosen = ""
        assert await use(channel) == 2


async def test_a_deadline_that_passes_leaves_nothing_behind() -> None:
    mesh = Mesh()
    async with mesh.open() as channel:
        assert await ask(channel) == 2
        before = await settled(mesh)
        mesh.stops.chosen = "agent, with a request"
        with pytest.raises(grpc.aio.AioRpcError):
            await QueryServiceStub(channel).Ask(ASK, timeout=0.2).read()
        await settled(mesh, before)


async def test_a_limit_that_is_cancelled_is_forgotten() -> None:
    inside = asyncio.Event()
    after: list[float | None] = []

    async def limited() -> None:
        try:
            async with fail_after(50):
                inside.set()
                await asyncio.Event().wait()
        finally:
            after.append(remaining_s())

    task = asyncio.ensure_future(limited())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert after == [None]


async def test_a_handlers_clean_up_has_run_when_its_server_is_drained() -> None:
    order: list[str] = []

    async def inner() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            order.append("inner closed")

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async with aclosing(inner()) as numbers:
                async for _ in numbers:
                    yield query_service_pb2.AskResponse()
        finally:
            order.append("handler closed")

    async with serving(queries(Ask=stream)) as (_, address), open_channel(address) as channel:
        call = QueryServiceStub(channel).Ask(ASK)
        await call.read()
        call.cancel()
    assert order == ["inner closed", "handler closed"]
