"""betterproto with grpclib and grpc.aio speak to each other, both ways: calls, errors, deadlines, cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
import grpclib.client
import grpclib.server
import pytest
from google.rpc import error_details_pb2
from grpclib.const import Status as GrpclibStatus
from grpclib.exceptions import GRPCError

from answermesh.errors import Reason, invalid_field
from answermesh.rpc.channel import open_channel
from answermesh.rpc.deadline import remaining_s
from answermesh.rpc.status import failure_from
from answermesh.typed.answermesh import v1 as typed
from answermesh.v1 import agent_service_pb2, query_service_pb2
from answermesh.v1.agent_service_pb2_grpc import AgentServiceStub
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from tests.wire.servers import agent, queries, serving

START = agent_service_pb2.RunRequest(start={"query": "queries/q1", "question": "?"})
TYPED_START = typed.RunRequest(start=typed.RunRequestStart(query="queries/q1", question="?"))


class Ours:
    """Behaviors for the grpc.aio server."""

    def __init__(self) -> None:
        self.remaining: list[float | None] = []
        self.started = asyncio.Event()
        self.ended = asyncio.Event()

    async def get(self, request: Any, context: Any) -> Any:
        self.remaining.append(remaining_s())
        if request.name == "queries/wait":
            await self.wait()
        if request.name == "queries/bad":
            raise invalid_field("name", "is bad.")
        return query_service_pb2.GetQueryResponse(query={"name": request.name})

    async def ask(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for sequence in range(1, 4):
            yield query_service_pb2.AskResponse(event={"sequence": sequence})
        if request.question == "wait":
            await self.wait()

    async def run(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield agent_service_pb2.RunResponse(usage=[{"id": request.start.question}])

    async def wait(self) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


class TheirQueries(typed.QueryServiceBase):
    """The same behaviors for the grpclib server."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.ended = asyncio.Event()

    async def get_query(self, get_query_request: typed.GetQueryRequest) -> typed.GetQueryResponse:
        if get_query_request.name == "queries/bad":
            details = [error_details_pb2.ErrorInfo(domain="answermesh", reason="INVALID_FIELD")]
            raise GRPCError(GrpclibStatus.INVALID_ARGUMENT, "name: is bad.", details)
        if get_query_request.name == "queries/wait":
            self.started.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.set()
        return typed.GetQueryResponse(query=typed.Query(name=get_query_request.name))

    async def ask(self, ask_request: typed.AskRequest) -> AsyncIterator[typed.AskResponse]:
        for sequence in range(1, 4):
            yield typed.AskResponse(event=typed.QueryEvent(sequence=sequence))


class TheirAgent(typed.AgentServiceBase):
    async def run(self, run_request_iterator: AsyncIterator[typed.RunRequest]) -> AsyncIterator[typed.RunResponse]:
        async for request in run_request_iterator:
            yield typed.RunResponse(usage=[typed.UsageRecord(id=request.start.question)])


@asynccontextmanager
async def typed_channel(ours: Ours) -> AsyncIterator[grpclib.client.Channel]:
    services = (queries(GetQuery=ours.get, Ask=ours.ask), agent(Run=ours.run))
    async with serving(*services) as (_, address):
        host, _, port = address.rpartition(":")
        async with grpclib.client.Channel(host, int(port)) as channel:
            yield channel


@asynccontextmanager
async def channel_to_theirs(*services: Any) -> AsyncIterator[grpc.aio.Channel]:
    server = grpclib.server.Server(list(services))
    await server.start("127.0.0.1", 0)
    assert server._server is not None
    port = server._server.sockets[0].getsockname()[1]
    try:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        server.close()
        await server.wait_closed()


async def test_the_typed_client_makes_calls_of_all_kinds_on_our_server() -> None:
    ours = Ours()
    async with typed_channel(ours) as channel:
        stub = typed.QueryServiceStub(channel)
        response = await stub.get_query(typed.GetQueryRequest(name="queries/q1"), timeout=20)
        assert response.query.name == "queries/q1"
        left = ours.remaining[0]
        assert left is not None
        assert 0 < left <= 20
        events = [r.event.sequence async for r in stub.ask(typed.AskRequest(question="?"), timeout=20)]
        assert events == [1, 2, 3]
        runs = typed.AgentServiceStub(channel).run([TYPED_START, TYPED_START], timeout=20)
        assert [r.usage[0].id async for r in runs] == ["?", "?"]


async def test_our_client_makes_calls_of_all_kinds_on_the_typed_server() -> None:
    async with channel_to_theirs(TheirQueries(), TheirAgent()) as channel:
        stub = QueryServiceStub(channel)
        response = await stub.GetQuery(query_service_pb2.GetQueryRequest(name="queries/q1"), timeout=20)
        assert response.query.name == "queries/q1"
        ask = stub.Ask(query_service_pb2.AskRequest(question="?"), timeout=20)
        assert [r.event.sequence async for r in ask] == [1, 2, 3]
        runs = AgentServiceStub(channel).Run(iter([START, START]), timeout=20)
        assert [r.usage[0].id async for r in runs] == ["?", "?"]


async def test_our_errors_reach_the_typed_client_with_their_details() -> None:
    async with typed_channel(Ours()) as channel:
        with pytest.raises(GRPCError) as error:
            await typed.QueryServiceStub(channel).get_query(typed.GetQueryRequest(name="queries/bad"), timeout=20)
    assert (error.value.status, error.value.message) == (GrpclibStatus.INVALID_ARGUMENT, "name: is bad.")
    info, bad_request = error.value.details
    assert (info.domain, info.reason) == ("answermesh", "INVALID_FIELD")
    assert bad_request.field_violations[0].field == "name"


async def test_errors_of_a_typed_server_reach_our_client_with_their_details() -> None:
    async with channel_to_theirs(TheirQueries()) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await QueryServiceStub(channel).GetQuery(query_service_pb2.GetQueryRequest(name="queries/bad"), timeout=20)
    assert failure_from(error.value).reason is Reason.INVALID_FIELD


async def test_the_typed_clients_deadline_ends_our_handler() -> None:
    ours = Ours()
    async with typed_channel(ours) as channel, asyncio.timeout(20):
        with pytest.raises((TimeoutError, GRPCError)):
            await typed.QueryServiceStub(channel).get_query(typed.GetQueryRequest(name="queries/wait"), timeout=0.2)
        await ours.ended.wait()


async def test_our_deadline_ends_a_typed_handler() -> None:
    theirs = TheirQueries()
    async with channel_to_theirs(theirs) as channel, asyncio.timeout(20):
        request = query_service_pb2.GetQueryRequest(name="queries/wait")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await QueryServiceStub(channel).GetQuery(request, timeout=0.2)
        assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await theirs.ended.wait()


async def test_a_typed_client_that_leaves_a_stream_ends_our_handler() -> None:
    ours = Ours()
    async with typed_channel(ours) as channel, asyncio.timeout(20):
        events = typed.QueryServiceStub(channel).ask(typed.AskRequest(question="wait"))
        async with aclosing(events):
            async for event in events:
                if event.event.sequence == 3:
                    break
            await ours.started.wait()
        await ours.ended.wait()


async def test_cancelling_our_call_ends_a_typed_handler() -> None:
    theirs = TheirQueries()
    async with channel_to_theirs(theirs) as channel, asyncio.timeout(20):
        call = QueryServiceStub(channel).GetQuery(query_service_pb2.GetQueryRequest(name="queries/wait"))
        await theirs.started.wait()
        call.cancel()
        await theirs.ended.wait()
