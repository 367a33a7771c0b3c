"""What the gateway wants of an upstream connection, on grpc.aio and on the HTTP/2 client alike (see calls.Upstream)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from answermesh.gateway.status import CallError, Metadata
from answermesh.gateway.upstream.calls import Upstream
from answermesh.gateway.upstream.grpc_channel import GrpcUpstream
from answermesh.gateway.upstream.http2 import Http2Upstream
from answermesh.rpc.channel import open_channel

BIG = bytes(range(256)) * 4096 * 3


class Service:
    """test.Test: echoes, streams, fails; remembers what it was asked and what was cancelled."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.metadata: dict[str, Any] = {}
        self.time_left_s = 0.0
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.received = 0

    async def echo(self, request: bytes, context: Any) -> bytes:
        self.metadata = dict(context.invocation_metadata())
        self.time_left_s = context.time_remaining() or 0.0
        await context.send_initial_metadata((("initial", "1"), ("initial-bin", b"\x00\xff")))
        context.set_trailing_metadata((("trailing", "2"), ("trailing-bin", b"\x01,\x02")))
        return request

    async def fail(self, request: bytes, context: Any) -> bytes:
        status = status_pb2.Status(code=5, message="nö, 100 %")
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason="WHY"))
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()), ("more", "x")))
        await context.abort(StatusCode.NOT_FOUND, "nö, 100 %")
        return b""

    async def hang(self, request: bytes, context: Any) -> bytes:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return b""

    async def feed(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    async def flood(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
                self.received += 1
        finally:
            self.cancelled.set()

    async def fail_late(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"1"
        yield b"2"
        await context.abort(StatusCode.DATA_LOSS, "late")

    async def bidi(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def count(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"%d" % sum([len(request) async for request in requests])

    async def take_none(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        yield b"taken"
        self.started.set()
        await asyncio.Event().wait()

    def handlers(self) -> grpc.GenericRpcHandler:
        unary, served = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            "test.Test",
            {
                "Echo": unary(self.echo),
                "Fail": unary(self.fail),
                "Hang": unary(self.hang),
                "Feed": served(self.feed),
                "Flood": served(self.flood),
                "FailLate": served(self.fail_late),
                "Bidi": grpc.stream_stream_rpc_method_handler(self.bidi),
                "Count": grpc.stream_unary_rpc_method_handler(self.count),
                "TakeNone": grpc.stream_stream_rpc_method_handler(self.take_none),
            },
        )


@asynccontextmanager
async def serving(service: Service, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((service.handlers(),))
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield address if address.startswith("unix:") else f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def client(kind: str, target: str) -> AsyncIterator[Upstream]:
    if kind == "http2":
        async with Http2Upstream(target) as upstream:
            yield upstream
            assert upstream.calls_in_flight <= 1, "a call was left behind"  # one watches the server's health
    else:
        async with open_channel(target) as channel:
            yield GrpcUpstream(channel)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture(params=["grpc.aio", "http2"])
async def upstream(request: pytest.FixtureRequest, service: Service) -> AsyncIterator[Upstream]:
    async with serving(service) as target, client(request.param, target) as opened:
        yield opened


async def collect(upstream: Upstream, path: str, only: bytes) -> tuple[list[bytes], Metadata]:
    messages: list[bytes] = []
    async with upstream.stream(path, (), 10.0, only) as call:
        while some := await call.read():
            messages += some
        return messages, await call.trailers()


async def test_a_unary_call_carries_message_metadata_and_trailers(upstream: Upstream, service: Service) -> None:
    sent = (("name", "value"), ("raw-bin", b"\x00\xfe"))
    reply = await upstream.unary("/test.Test/Echo", b"hello", sent, 10.0)
    assert reply.message == b"hello"
    assert set(reply.headers) >= {("initial", "1"), ("initial-bin", b"\x00\xff")}
    assert set(reply.trailers) == {("trailing", "2"), ("trailing-bin", b"\x01,\x02")}
    assert service.metadata.items() >= dict(sent).items()
    assert 8.0 < service.time_left_s <= 10.1


@pytest.mark.parametrize("message", [b"", b"x", BIG])
async def test_a_message_of_any_size_comes_back_as_it_was(upstream: Upstream, message: bytes) -> None:
    reply = await upstream.unary("/test.Test/Echo", message, (), 30.0)
    assert reply.message == message


async def test_a_failure_has_its_code_message_details_and_metadata(upstream: Upstream) -> None:
    with pytest.raises(CallError) as raised:
        await upstream.unary("/test.Test/Fail", b"", (), 10.0)
    error = raised.value
    assert (error.code, error.message) == (StatusCode.NOT_FOUND, "nö, 100 %")
    assert [detail.type_url for detail in error.details] == ["type.googleapis.com/google.rpc.ErrorInfo"]
    assert ("more", "x") in error.metadata


async def test_an_unknown_method_is_unimplemented(upstream: Upstream) -> None:
    with pytest.raises(CallError) as raised:
        await upstream.unary("/test.Test/None", b"", (), 10.0)
    assert raised.value.code is StatusCode.UNIMPLEMENTED


async def test_a_deadline_ends_the_call_on_both_sides(upstream: Upstream, service: Service) -> None:
    with pytest.raises(CallError) as raised:
        await upstream.unary("/test.Test/Hang", b"", (), 0.2)
    assert raised.value.code is StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(service.cancelled.wait(), 10)


async def test_cancelling_a_unary_call_cancels_it_upstream(upstream: Upstream, service: Service) -> None:
    task = asyncio.create_task(upstream.unary("/test.Test/Hang", b"", (), 30.0))
    await service.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(service.cancelled.wait(), 10)
    assert (await upstream.unary("/test.Test/Echo", b"after", (), 10.0)).message == b"after"


async def test_a_server_stream_gives_all_messages_in_order(upstream: Upstream) -> None:
    messages, _ = await collect(upstream, "/test.Test/Feed", b"1000")
    assert messages == [b"%d" % number for number in range(1000)]


async def test_a_failure_after_messages_comes_after_them(upstream: Upstream) -> None:
    seen: list[bytes] = []
    with pytest.raises(CallError) as raised:
        async with upstream.stream("/test.Test/FailLate", (), 10.0, b"") as call:
            while some := await call.read():
                seen += some
    assert (raised.value.code, raised.value.message) == (StatusCode.DATA_LOSS, "late")
    assert seen == [b"1", b"2"]


async def test_messages_go_both_ways_as_they_come(upstream: Upstream) -> None:
    async with upstream.stream("/test.Test/Bidi", (), 10.0) as call:
        for number in range(5):
            await call.write(b"%d" % number)
            assert list(await call.read()) == [b"%d" % number]
        await call.done_writing()
        assert not await call.read()
        assert isinstance(await call.headers(), tuple)


async def test_a_client_stream_of_large_messages_arrives_whole(upstream: Upstream) -> None:
    async with upstream.stream("/test.Test/Count", (), 30.0) as call:
        for _ in range(3):
            await call.write(BIG)
        await call.done_writing()
        assert list(await call.read()) == [b"%d" % (3 * len(BIG))]


async def test_leaving_a_stream_cancels_it_upstream(upstream: Upstream, service: Service) -> None:
    async with upstream.stream("/test.Test/Flood", (), 30.0, b"") as call:
        assert await call.read()
    await asyncio.wait_for(service.cancelled.wait(), 10)


async def test_a_cancelled_read_loses_nothing(upstream: Upstream) -> None:
    async with upstream.stream("/test.Test/Bidi", (), 10.0) as call:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await call.read()
        await call.write(b"kept")
        assert list(await call.read()) == [b"kept"]


async def test_writing_to_a_call_that_is_over_tells_why(upstream: Upstream) -> None:
    async with upstream.stream("/test.Test/None", (), 10.0) as call:
        with pytest.raises(CallError) as raised:
            await call.read()
        assert raised.value.code is StatusCode.UNIMPLEMENTED
        with pytest.raises(CallError) as raised:
            await call.write(b"late")
        assert raised.value.code is StatusCode.UNIMPLEMENTED


async def test_an_upstream_that_takes_nothing_holds_up_the_writer(upstream: Upstream, service: Service) -> None:
    written = 0
    async with upstream.stream("/test.Test/TakeNone", (), 30.0) as call:
        await call.read()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                while written < 1000:
                    await call.write(b"x" * 100_000)
                    written += 1
    assert written < 1000


@pytest.mark.parametrize("kind", ["grpc.aio", "http2"])
async def test_an_upstream_that_is_not_there_is_unavailable(kind: str) -> None:
    async with client(kind, "127.0.0.1:1") as upstream:
        with pytest.raises(CallError) as raised:
            await upstream.unary("/test.Test/Echo", b"", (), 10.0)
        assert raised.value.code is StatusCode.UNAVAILABLE
