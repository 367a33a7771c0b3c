"""What a caller is told when a handler fails, for all four kinds of RPC."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from answermesh.errors import Failure, Field, Reason, invalid_field
from answermesh.rpc.channel import open_channel
from answermesh.rpc.status import failure_from
from answermesh.v1 import agent_service_pb2, query_service_pb2
from answermesh.v1.agent_service_pb2_grpc import AgentServiceStub
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from tests.wire.servers import agent, queries, serving

GET = query_service_pb2.GetQueryRequest(name="queries/q1")
ASK = query_service_pb2.AskRequest(question="What is a lease?")
START = agent_service_pb2.RunRequest(start={"query": "queries/q1", "question": "What is a lease?"})


def raising(error: BaseException) -> dict[str, Any]:
    """Behaviors of the three kinds of RPC that the contract has, each of which raises `error`."""

    async def unary(request: Any, context: Any) -> Any:
        raise error

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        yield query_service_pb2.AskResponse()
        raise error

    async def bidi(requests: Any, context: Any) -> AsyncIterator[Any]:
        async for _ in requests:
            yield agent_service_pb2.RunResponse()
            raise error

    return {"GetQuery": unary, "Ask": stream, "Run": bidi}


async def errors_of(address: str) -> list[grpc.aio.AioRpcError]:
    """The error of one call of each kind."""
    errors = []
    async with open_channel(address) as channel:
        query_stub, agent_stub = QueryServiceStub(channel), AgentServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as unary:
            await query_stub.GetQuery(GET, timeout=5)
        errors.append(unary.value)
        for call in (query_stub.Ask(ASK, timeout=5), agent_stub.Run(iter([START]), timeout=5)):
            with pytest.raises(grpc.aio.AioRpcError) as stream:
                async for _ in call:
                    pass
            errors.append(stream.value)
    return errors


def both(error: BaseException) -> Any:
    behaviors = raising(error)
    run = behaviors.pop("Run")
    return serving(queries(**behaviors), agent(Run=run))


async def test_a_failure_reaches_the_caller_with_code_reason_fields_and_delay() -> None:
    failure = Failure(
        Reason.OVERLOADED,
        "10 of 10 queries run; try again later.",
        fields=[Field("question", "too many")],
        retry_after_s=1.5,
    )
    async with both(failure) as (_, address):
        for error in await errors_of(address):
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert error.details() == failure.message
            told = failure_from(error)
            assert (told.reason, told.fields, told.retry_after_s) == (failure.reason, failure.fields, 1.5)
            # The public reader of details agrees.
            status = rpc_status.from_call(error)
            info = error_details_pb2.ErrorInfo()
            assert status.details[0].Unpack(info)
            assert (info.domain, info.reason) == ("answermesh", "OVERLOADED")


async def test_an_unknown_exception_is_logged_under_an_id_and_its_text_is_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with both(ValueError("secret /etc/passwd")) as (_, address):
        with caplog.at_level(logging.ERROR, "answermesh.rpc"):
            errors = await errors_of(address)
    for error, record in zip(errors, caplog.records, strict=True):
        assert error.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in (error.details() or "")
        status = rpc_status.from_call(error)
        assert b"secret" not in status.SerializeToString()
        request = error_details_pb2.RequestInfo()
        assert status.details[1].Unpack(request)
        assert request.request_id in record.getMessage()
        assert record.exc_info
        assert "secret" in str(record.exc_info[1])


async def test_a_handler_that_cancels_itself_does_not_hang_its_caller() -> None:
    async with both(asyncio.CancelledError()) as (_, address):
        for error in await errors_of(address):
            assert failure_from(error).reason is Reason.SERVICE_UNAVAILABLE


async def test_of_a_group_the_caller_is_told_the_failure() -> None:
    group = ExceptionGroup("unhandled errors in a TaskGroup", [ExceptionGroup("", [invalid_field("name", "is odd.")])])
    async with both(group) as (_, address):
        for error in await errors_of(address):
            told = failure_from(error)
            assert (told.reason, told.fields[0].path) == (Reason.INVALID_FIELD, "name")


async def test_a_time_out_that_is_not_the_calls_deadline_is_an_internal_error() -> None:
    async with both(TimeoutError("of something else")) as (_, address):
        for error in await errors_of(address):
            assert failure_from(error).reason is Reason.INTERNAL


async def test_a_handler_may_still_abort_the_call_itself() -> None:
    async def get(request: Any, context: Any) -> Any:
        async with asyncio.TaskGroup():
            await context.abort(grpc.StatusCode.DATA_LOSS, "as I say")

    async with serving(queries(GetQuery=get)) as (_, address), open_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await QueryServiceStub(channel).GetQuery(GET, timeout=5)
    assert (error.value.code(), error.value.details()) == (grpc.StatusCode.DATA_LOSS, "as I say")


async def test_the_error_of_an_upstream_passes_with_its_details() -> None:
    async with both(invalid_field("question", "is too long.")) as (_, upstream), open_channel(upstream) as inner:

        async def get(request: Any, context: Any) -> Any:
            return await QueryServiceStub(inner).GetQuery(request)

        async with serving(queries(GetQuery=get)) as (_, address), open_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await QueryServiceStub(channel).GetQuery(GET, timeout=5)
    told = failure_from(error.value)
    assert (told.reason, told.fields) == (Reason.INVALID_FIELD, (Field("question", "is too long."),))


async def test_an_upstream_that_cannot_be_reached_is_unavailable_and_its_address_is_not_told() -> None:
    async with open_channel("unix:/nonexistent/secret.sock") as inner:

        async def get(request: Any, context: Any) -> Any:
            return await QueryServiceStub(inner).GetQuery(request)

        async with serving(queries(GetQuery=get)) as (_, address), open_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await QueryServiceStub(channel).GetQuery(GET, timeout=10)
    assert failure_from(error.value).reason is Reason.SERVICE_UNAVAILABLE
    assert "secret" not in (error.value.details() or "")


async def test_what_a_handler_found_unavailable_is_not_tried_again() -> None:
    calls = 0

    async def get(request: Any, context: Any) -> Any:
        nonlocal calls
        calls += 1
        raise Failure(Reason.DATABASE_UNAVAILABLE, "The database does not answer.")

    async with serving(queries(GetQuery=get)) as (_, address), open_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await QueryServiceStub(channel).GetQuery(GET, timeout=5)
    assert failure_from(error.value).reason is Reason.DATABASE_UNAVAILABLE
    assert calls == 1


async def test_a_method_that_nobody_serves_is_unimplemented_with_a_reason() -> None:
    async with serving(queries()) as (_, address), open_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await AgentServiceStub(channel).GetCard(agent_service_pb2.GetCardRequest(), timeout=5)
    assert failure_from(error.value).reason is Reason.UNIMPLEMENTED
    assert "/answermesh.v1.AgentService/GetCard" in (error.value.details() or "")


async def test_a_message_over_the_limit_is_too_large() -> None:
    async with serving(queries()) as (_, address), open_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await (
                QueryServiceStub(channel)
                .Ask(query_service_pb2.AskRequest(question="a" * (64 << 20)), timeout=10)
                .read()
            )
    assert failure_from(error.value).reason is Reason.TOO_LARGE


async def test_the_longest_failure_fits_in_the_trailers() -> None:
    failure = Failure(
        Reason.INVALID_FIELD, "\u00e9" * 100_000, fields=[Field("\u00e9" * 5000, "\u00e9" * 5000) for _ in range(100)]
    )
    # A plain channel has gRPC's own limit of 8 KiB.
    async with both(failure) as (_, address), grpc.aio.insecure_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await QueryServiceStub(channel).GetQuery(GET, timeout=5)
    told = failure_from(error.value)
    assert told.reason is Reason.INVALID_FIELD
    assert len(told.fields) > 1


async def test_a_child_task_that_fails_while_its_group_is_left_is_told_and_does_not_hang_the_caller() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise invalid_field("name", "is wrong.")

    async def unary(request: Any, context: Any) -> Any:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())

    async with serving(queries(GetQuery=unary)) as (_, address), open_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await QueryServiceStub(channel).GetQuery(GET, timeout=5)

    assert failure_from(caught.value).reason is Reason.INVALID_FIELD
