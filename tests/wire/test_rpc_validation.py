"""Requests are refused at the edge where a REQUIRED field is empty, before the handler runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from answermesh.errors import Reason
from answermesh.rpc.channel import open_channel
from answermesh.rpc.status import failure_from
from answermesh.v1 import agent_service_pb2, query_service_pb2
from answermesh.v1.agent_service_pb2_grpc import AgentServiceStub
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from tests.wire.servers import agent, queries, serving


async def never(request: Any, context: Any) -> Any:
    raise AssertionError("the handler ran")


async def test_a_missing_field_of_a_unary_call_is_named() -> None:
    async with serving(queries(GetQuery=never)) as (_, address), open_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await QueryServiceStub(channel).GetQuery(query_service_pb2.GetQueryRequest(), timeout=5)
    told = failure_from(error.value)
    assert told.reason is Reason.INVALID_FIELD
    assert [field.path for field in told.fields] == ["name"]


async def test_a_missing_field_of_a_streaming_call_is_named() -> None:
    async def ask(request: Any, context: Any) -> AsyncIterator[Any]:
        yield await never(request, context)

    async with serving(queries(Ask=ask)) as (_, address), open_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await QueryServiceStub(channel).Ask(query_service_pb2.AskRequest(), timeout=5).read()
    assert [field.path for field in failure_from(error.value).fields] == ["question"]


async def test_the_first_message_of_a_stream_is_checked_and_later_ones_are_not() -> None:
    async def run(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for _ in requests:
            yield agent_service_pb2.RunResponse()

    good = agent_service_pb2.RunRequest(start={"query": "queries/q1", "question": "?"})
    bad = agent_service_pb2.RunRequest(start={"query": "queries/q1"})
    async with serving(agent(Run=run)) as (_, address), open_channel(address) as channel:
        stub = AgentServiceStub(channel)
        assert len([response async for response in stub.Run(iter([good, bad]), timeout=5)]) == 2
        with pytest.raises(grpc.aio.AioRpcError) as error:
            async for _ in stub.Run(iter([bad]), timeout=5):
                pass
    assert [field.path for field in failure_from(error.value).fields] == ["start.question"]


async def test_a_handler_may_read_a_stream_message_by_message() -> None:
    async def run(requests: AsyncIterator[Any], context: Any) -> None:
        while await context.read() is not grpc.aio.EOF:
            await context.write(agent_service_pb2.RunResponse())

    message = agent_service_pb2.RunRequest(start={"query": "queries/q1", "question": "?"})
    async with serving(agent(Run=run)) as (_, address), open_channel(address) as channel:
        responses = [r async for r in AgentServiceStub(channel).Run(iter([message] * 3), timeout=5)]
    assert len(responses) == 3
