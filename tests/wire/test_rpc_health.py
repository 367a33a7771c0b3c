"""Health and reflection, as probes, channels and grpcurl ask for them."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from answermesh.rpc.channel import open_channel
from answermesh.v1 import query_service_pb2
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from tests.wire.servers import queries, serving

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


def of(service: str) -> Any:
    return health_pb2.HealthCheckRequest(service=service)


async def test_the_server_and_each_service_are_serving_once_started() -> None:
    async with serving(queries()) as (_, address), open_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "answermesh.v1.QueryService", "grpc.health.v1.Health"):
            assert (await stub.Check(of(service), timeout=5)).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Check(of("nobody.Service"), timeout=5)
        assert error.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_sees_every_change_and_ends_with_the_server() -> None:
    # Without health checking by the channel, which would not let a call through to a server that is not serving.
    async with serving(queries()) as (server, address), grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watch, unknown = stub.Watch(of(""), timeout=10), stub.Watch(of("nobody.Service"), timeout=10)
        assert (await watch.read()).status == SERVING
        assert (await unknown.read()).status == SERVICE_UNKNOWN
        server.set_serving(False)
        assert (await watch.read()).status == NOT_SERVING
        server.set_serving(True)
        assert (await watch.read()).status == SERVING
        async with asyncio.timeout(5):
            # Well under the grace, which is for calls that do something.
            await server.drain(grace_s=100)
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF


async def test_a_channel_sends_nothing_to_a_server_that_is_not_serving() -> None:
    async def get(request: Any, context: Any) -> Any:
        return query_service_pb2.GetQueryResponse()

    request = query_service_pb2.GetQueryRequest(name="queries/q1")
    async with serving(queries(GetQuery=get)) as (server, address), open_channel(address) as channel:
        stub = QueryServiceStub(channel)
        await stub.GetQuery(request, timeout=5)
        server.set_serving(False)
        async with asyncio.timeout(5):
            while channel.get_state() is grpc.ChannelConnectivity.READY:
                await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.GetQuery(request, timeout=5)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        server.set_serving(True)
        await stub.GetQuery(request, timeout=5, wait_for_ready=True)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_describes_every_service_in_both_versions(version: str) -> None:
    async with serving(queries()) as (_, address), open_channel(address) as channel:
        info = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        call = info(timeout=5)
        await call.write(reflection_pb2.ServerReflectionRequest(list_services="*"))
        names = [service.name for service in (await call.read()).list_services_response.service]
        assert set(names) == {
            "answermesh.v1.QueryService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        for name in names:
            await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name))
            files = (await call.read()).file_descriptor_response.file_descriptor_proto
            found = [descriptor_pb2.FileDescriptorProto.FromString(file) for file in files]
            assert name in [f"{file.package}.{service.name}" for file in found for service in file.service]
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_reflection_finds_a_method_by_its_name() -> None:
    symbols = ["answermesh.v1.QueryService.GetQuery", "answermesh.v1.QueryService.Guess", "nobody.Service.Method"]
    requests = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol) for symbol in symbols]
    async with serving(queries()) as (_, address), open_channel(address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        found = [r.WhichOneof("message_response") async for r in stub.ServerReflectionInfo(iter(requests), timeout=5)]
    assert found == ["file_descriptor_response", "error_response", "error_response"]
