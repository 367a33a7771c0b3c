"""A service passed on byte for byte: the caller cannot tell that another server answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from answermesh.errors import Failure, Reason, invalid_field
from answermesh.rpc.channel import open_channel
from answermesh.rpc.deadline import remaining_s
from answermesh.rpc.server import Server
from answermesh.rpc.status import failure_from
from answermesh.v1 import document_service_pb2
from answermesh.v1.document_service_pb2_grpc import DocumentServiceStub
from tests.wire.servers import documents, serving

GET = document_service_pb2.GetDocumentRequest(name="documents/d1")


@asynccontextmanager
async def forwarded(**behaviors: Any) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server that passes DocumentService on to one with these behaviors."""
    async with AsyncExitStack() as stack:
        _, upstream = await stack.enter_async_context(serving(documents(**behaviors)))
        inner = await stack.enter_async_context(open_channel(upstream))
        server = Server("127.0.0.1:0", drain_wait_s=0.0)
        server.forward("answermesh.v1.DocumentService", inner)
        stack.push_async_callback(server.drain, 0.0)
        yield await stack.enter_async_context(open_channel(await server.start()))


async def test_unary_calls_pass_with_metadata_and_deadline() -> None:
    async def get(request: Any, context: Any) -> Any:
        sent = dict(context.invocation_metadata())
        left = remaining_s()
        assert left is not None
        assert 5 < left < 21
        await context.send_initial_metadata((("x-first", sent["x-mine"]),))
        context.set_trailing_metadata((("x-last-bin", b"\x00\xff"),))
        return document_service_pb2.GetDocumentResponse(document={"name": request.name})

    async with forwarded(GetDocument=get) as channel:
        call = DocumentServiceStub(channel).GetDocument(GET, timeout=20, metadata=(("x-mine", "7"),))
        response = await call
        assert response.document.name == "documents/d1"
        assert dict(await call.initial_metadata())["x-first"] == "7"
        assert dict(await call.trailing_metadata())["x-last-bin"] == b"\x00\xff"


async def test_unknown_fields_pass_untouched() -> None:
    async def get(request: Any, context: Any) -> Any:
        # Field 99, which no version of the contract has.
        return document_service_pb2.GetDocumentResponse.FromString(b"\x98\x06\x07")

    async with forwarded(GetDocument=get) as channel:
        raw = channel.unary_unary("/answermesh.v1.DocumentService/GetDocument")
        assert await raw(GET.SerializeToString(), timeout=5) == b"\x98\x06\x07"


async def test_bidirectional_streams_pass_message_by_message() -> None:
    async def import_(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield document_service_pb2.ImportDocumentsResponse(passages_done=len(request.chunk))

    async with forwarded(ImportDocuments=import_) as channel:
        call = DocumentServiceStub(channel).ImportDocuments(timeout=5)
        for size in (1, 1000, 1 << 20):
            await call.write(document_service_pb2.ImportDocumentsRequest(chunk=b"x" * size))
            # The answer comes before the next request is sent.
            assert (await call.read()).passages_done == size
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_an_upstream_may_answer_before_it_has_read_all() -> None:
    async def import_(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for _ in requests:
            yield document_service_pb2.ImportDocumentsResponse(passages_total=1)
            return

    async with forwarded(ImportDocuments=import_) as channel:
        call = DocumentServiceStub(channel).ImportDocuments(timeout=5)
        await call.write(document_service_pb2.ImportDocumentsRequest(chunk=b"x"))
        assert (await call.read()).passages_total == 1
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


async def test_errors_pass_with_their_details() -> None:
    async def get(request: Any, context: Any) -> Any:
        raise Failure(Reason.STORAGE_FULL, "The disk is full.", retry_after_s=3)

    async def import_(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        yield document_service_pb2.ImportDocumentsResponse(passages_total=1)
        raise invalid_field("start.uri", "is empty.")

    async with forwarded(GetDocument=get, ImportDocuments=import_) as channel:
        stub = DocumentServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as unary:
            await stub.GetDocument(GET, timeout=5)
        call = stub.ImportDocuments(timeout=5)
        assert (await call.read()).passages_total == 1
        with pytest.raises(grpc.aio.AioRpcError) as stream:
            await call.read()
    told = failure_from(unary.value)
    assert (told.reason, told.message, told.retry_after_s) == (Reason.STORAGE_FULL, "The disk is full.", 3)
    assert [field.path for field in failure_from(stream.value).fields] == ["start.uri"]


async def test_the_upstreams_validation_is_told() -> None:
    async with forwarded() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await DocumentServiceStub(channel).GetDocument(document_service_pb2.GetDocumentRequest(), timeout=5)
    assert [field.path for field in failure_from(error.value).fields] == ["name"]


async def test_hanging_up_cancels_the_upstream() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def get(request: Any, context: Any) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with forwarded(GetDocument=get) as channel, asyncio.timeout(10):
        call = DocumentServiceStub(channel).GetDocument(GET)
        await started.wait()
        call.cancel()
        await ended.wait()


async def test_an_upstream_that_stops_is_unavailable() -> None:
    async def get(request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.CANCELLED, "stopping")

    async with forwarded(GetDocument=get) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await DocumentServiceStub(channel).GetDocument(GET, timeout=5)
    assert failure_from(error.value).reason is Reason.SERVICE_UNAVAILABLE


async def test_reflection_tells_of_a_forwarded_service() -> None:
    async with forwarded() as channel:
        requests = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="answermesh.v1.DocumentService"),
        ]
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        names, file = [r async for r in stub.ServerReflectionInfo(iter(requests), timeout=5)]
    assert "answermesh.v1.DocumentService" in [service.name for service in names.list_services_response.service]
    assert file.file_descriptor_response.file_descriptor_proto
