"""A server that stops loses no call, neither one that runs nor one that comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from answermesh.rpc.channel import open_channel
from answermesh.v1 import query_service_pb2
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from tests.wire.servers import queries, serving

GET = query_service_pb2.GetQueryRequest(name="queries/q1")
ASK = query_service_pb2.AskRequest(question="What is a lease?")


async def test_of_two_replicas_one_is_drained_without_an_error() -> None:
    served = {"a": 0, "b": 0}

    def replica(name: str) -> Any:
        async def get(request: Any, context: Any) -> Any:
            served[name] += 1
            await asyncio.sleep(0)
            return query_service_pb2.GetQueryResponse()

        return queries(GetQuery=get)

    drained = asyncio.Event()

    async def caller(stub: Any) -> None:
        while not drained.is_set():
            await stub.GetQuery(GET, timeout=10)

    async with serving(replica("a"), drain_wait_s=0.5) as (first, one), serving(replica("b")) as (_, two):
        async with open_channel([one, two]) as channel, asyncio.TaskGroup() as group:
            stub = QueryServiceStub(channel)
            while not all(served.values()):
                await stub.GetQuery(GET, timeout=10)
            for _ in range(8):
                group.create_task(caller(stub))
            await first.drain()
            before = dict(served)
            for _ in range(20):
                await stub.GetQuery(GET, timeout=10)
            drained.set()
        assert served["a"] == before["a"]
        assert served["b"] > before["b"]


async def test_a_stream_that_runs_is_finished() -> None:
    go = asyncio.Event()

    async def ask(request: Any, context: Any) -> AsyncIterator[Any]:
        for _ in range(3):
            yield query_service_pb2.AskResponse()
            await go.wait()

    async with serving(queries(Ask=ask)) as (server, address), open_channel(address) as channel:
        call = QueryServiceStub(channel).Ask(ASK, timeout=10)
        await call.read()
        async with asyncio.TaskGroup() as group:
            group.create_task(server.drain(grace_s=10))
            go.set()
            assert len([response async for response in call_rest(call)]) == 2
        assert await call.code() is grpc.StatusCode.OK


async def test_after_the_grace_handlers_are_cancelled_and_their_clean_up_is_awaited() -> None:
    started, cleaned = asyncio.Event(), False

    async def ask(request: Any, context: Any) -> AsyncIterator[Any]:
        nonlocal cleaned
        yield query_service_pb2.AskResponse()
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(10):
                await asyncio.sleep(0)
            cleaned = True

    async with serving(queries(Ask=ask)) as (server, address), open_channel(address) as channel:
        call = QueryServiceStub(channel).Ask(ASK, timeout=10)
        await call.read()
        await started.wait()
        await server.drain(grace_s=0.0)
        assert cleaned
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
            await call.read()


async def test_drain_may_be_called_twice_and_before_the_start() -> None:
    async with serving(queries()) as (server, _):
        await server.drain(grace_s=0.0)
        await server.drain(grace_s=0.0)


async def test_a_drain_that_is_cancelled_stops_at_once() -> None:
    started = asyncio.Event()

    async def get(request: Any, context: Any) -> Any:
        started.set()
        await asyncio.Event().wait()

    async with serving(queries(GetQuery=get)) as (server, address), open_channel(address) as channel:
        call = QueryServiceStub(channel).GetQuery(GET, timeout=60)
        await started.wait()
        draining = asyncio.ensure_future(server.drain(grace_s=50))
        await asyncio.sleep(0)
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draining
        with pytest.raises(grpc.aio.AioRpcError):
            await call


async def call_rest(call: Any) -> AsyncIterator[Any]:
    """What is left to read of a call that was read message by message."""
    while (response := await call.read()) is not grpc.aio.EOF:
        yield response
