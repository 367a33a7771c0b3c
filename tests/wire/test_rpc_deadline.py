"""One deadline per call, over hops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from answermesh.errors import Failure, Reason
from answermesh.rpc.channel import open_channel
from answermesh.rpc.deadline import bound_s, fail_after, no_deadline, remaining_s
from answermesh.rpc.status import failure_from
from answermesh.rpc.tenancy import current_tenant
from answermesh.v1 import query_service_pb2
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from tests.wire.servers import queries, serving

GET = query_service_pb2.GetQueryRequest(name="queries/q1")
ASK = query_service_pb2.AskRequest(question="What is a lease?")


# gRPC rounds a time-out up by 1 % at most when it writes it into the header.
ROUNDED = 1.02


class Leaf:
    """The last hop: notes what is left when a call arrives."""

    def __init__(self) -> None:
        self.remaining: list[float | None] = []

    async def get(self, request: Any, context: Any) -> Any:
        self.remaining.append(remaining_s())
        return query_service_pb2.GetQueryResponse()


async def test_the_deadline_travels_over_two_hops() -> None:
    leaf = Leaf()
    async with serving(queries(GetQuery=leaf.get)) as (_, last), open_channel(last) as inner:

        async def get(request: Any, context: Any) -> Any:
            return await QueryServiceStub(inner).GetQuery(request)

        async def ask(request: Any, context: Any) -> AsyncIterator[Any]:
            async with asyncio.TaskGroup() as group:
                group.create_task(get(GET, context))
            yield query_service_pb2.AskResponse()

        async with serving(queries(GetQuery=get, Ask=ask)) as (_, first), open_channel(first) as channel:
            await QueryServiceStub(channel).GetQuery(GET, timeout=20)
            async for _ in QueryServiceStub(channel).Ask(ASK, timeout=20):
                pass
    assert len(leaf.remaining) == 2
    assert all(left is not None and 0 < left <= 20 * ROUNDED for left in leaf.remaining)


async def test_a_call_takes_the_shorter_of_its_own_time_out_and_what_is_left() -> None:
    leaf = Leaf()
    async with serving(queries(GetQuery=leaf.get)) as (_, last), open_channel(last) as inner:
        stub = QueryServiceStub(inner)

        async def get(request: Any, context: Any) -> Any:
            await stub.GetQuery(request, timeout=5)
            await stub.GetQuery(request, timeout=500)
            async with fail_after(3):
                await stub.GetQuery(request)
            with no_deadline():
                await stub.GetQuery(request)
            return query_service_pb2.GetQueryResponse()

        async with serving(queries(GetQuery=get)) as (_, first), open_channel(first) as channel:
            await QueryServiceStub(channel).GetQuery(GET, timeout=20)
    own, left, within, free = leaf.remaining
    assert own is not None
    assert own <= 5 * ROUNDED
    assert left is not None
    assert 5 < left <= 20 * ROUNDED
    assert within is not None
    assert within <= 3 * ROUNDED
    assert free is None


async def test_a_call_without_a_deadline_has_none() -> None:
    leaf = Leaf()
    async with serving(queries(GetQuery=leaf.get)) as (_, address), open_channel(address) as channel:
        await QueryServiceStub(channel).GetQuery(GET)
    assert leaf.remaining == [None]


async def test_a_handler_that_hits_its_own_limit_fails_with_deadline_exceeded() -> None:
    async def get(request: Any, context: Any) -> Any:
        async with fail_after(0.01):
            await asyncio.Event().wait()

    async with serving(queries(GetQuery=get)) as (_, address), open_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await QueryServiceStub(channel).GetQuery(GET, timeout=20)
    assert failure_from(error.value).reason is Reason.DEADLINE_EXCEEDED


async def test_at_the_deadline_the_handler_is_cancelled_and_the_caller_told() -> None:
    ended = asyncio.Event()

    async def get(request: Any, context: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(queries(GetQuery=get)) as (_, address), open_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await QueryServiceStub(channel).GetQuery(GET, timeout=0.1)
        assert failure_from(error.value).reason is Reason.DEADLINE_EXCEEDED
        async with asyncio.timeout(5):
            await ended.wait()


async def test_each_call_has_its_own_deadline_and_the_servers_tenant() -> None:
    seen: list[tuple[str, bool]] = []

    async def get(request: Any, context: Any) -> Any:
        seen.append((current_tenant(), remaining_s() is None))
        return query_service_pb2.GetQueryResponse()

    async with serving(queries(GetQuery=get), tenant="acme") as (_, address), open_channel(address) as channel:
        stub = QueryServiceStub(channel)
        await stub.GetQuery(GET, timeout=5)
        await stub.GetQuery(GET)
    assert seen == [("acme", False), ("acme", True)]
    assert current_tenant() == "default"


async def test_nested_limits_only_shorten() -> None:
    async with fail_after(10), fail_after(1000):
        left = remaining_s()
        assert left is not None
        assert left <= 10
        assert bound_s(1) == 1
        assert bound_s(1000) <= 10
    assert remaining_s() is None


async def test_a_time_out_within_a_limit_that_is_not_the_limits_passes() -> None:
    with pytest.raises(TimeoutError):
        async with fail_after(1000):
            raise TimeoutError("mine")
    with pytest.raises(Failure):
        async with fail_after(0):
            await asyncio.Event().wait()
