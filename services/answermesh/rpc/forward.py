"""A whole service passed on to another server: messages byte for byte, metadata, deadline, errors, cancellation.

Nothing is decoded, so the upstream's validation, limits and errors are what the caller sees. Methods that stream
either way are handled as bidirectional streams, which on the wire all calls are; the others as what they are, for a
quarter less processor time here.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

import answermesh.v1

# Of the names that gRPC keeps for itself, those that are meant to travel with a call.
_TRAVELLING = {"grpc-trace-bin", "grpc-tags-bin"}
# Of one connection, not of the call.
_OF_CONNECTION = {"user-agent", "content-type", "te", "host"}


def handlers(service_name: str, channel: grpc.aio.Channel) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """A handler for each method of the service with this full name, which calls the same method over `channel`.

    Raises KeyError for a service that is not of `answermesh.v1` and whose descriptor is not loaded.
    """
    return {method.name: _handler(method, channel) for method in _descriptor(service_name).methods}


def _descriptor(service_name: str) -> ServiceDescriptor:
    pool = descriptor_pool.Default()
    try:
        return pool.FindServiceByName(service_name)
    except KeyError:
        # A process that forwards a service seldom imports it; reflection needs its descriptor all the same.
        for module in pkgutil.iter_modules(answermesh.v1.__path__):
            if module.name.endswith("_service_pb2"):
                importlib.import_module(f"answermesh.v1.{module.name}")
        return pool.FindServiceByName(service_name)


def _handler(method: MethodDescriptor, channel: grpc.aio.Channel) -> grpc.RpcMethodHandler[Any, Any]:
    path = f"/{method.containing_service.full_name}/{method.name}"
    if method.client_streaming or method.server_streaming:
        return grpc.stream_stream_rpc_method_handler(_streams(path, channel))
    return grpc.unary_unary_rpc_method_handler(_single(path, channel))


def _single(method: str, channel: grpc.aio.Channel) -> Callable[[bytes, Any], Any]:
    upstream: Any = channel.unary_unary(method)

    async def forward(request: bytes, context: Any) -> bytes:
        call = upstream(request, timeout=context.time_remaining(), metadata=_passed_on(context.invocation_metadata()))
        try:
            response: bytes = await call
        except grpc.aio.AioRpcError as error:
            context.set_trailing_metadata(_passed_on(error.trailing_metadata()))
            raise
        finally:
            call.cancel()
        if initial := _passed_on(await call.initial_metadata()):
            await context.send_initial_metadata(initial)
        context.set_trailing_metadata(_passed_on(await call.trailing_metadata()))
        return response

    return forward


def _streams(method: str, channel: grpc.aio.Channel) -> Callable[[AsyncIterator[bytes], Any], Any]:
    upstream: Any = channel.stream_stream(method)

    async def forward(requests: AsyncIterator[bytes], context: Any) -> None:
        call = upstream(timeout=context.time_remaining(), metadata=_passed_on(context.invocation_metadata()))
        try:
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(_send(requests, call))
                await _relay(call, context)
                # An upstream may answer before it was told all.
                sending.cancel()
        finally:
            call.cancel()

    return forward


async def _send(requests: AsyncIterator[bytes], call: Any) -> None:
    try:
        async for request in requests:
            await call.write(request)
        await call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        # The upstream has ended the call; the one who reads it learns how.
        if not call.done():
            raise


async def _relay(call: Any, context: Any) -> None:
    if initial := _passed_on(await call.initial_metadata()):
        await context.send_initial_metadata(initial)
    try:
        async for response in call:
            await context.write(response)
    except grpc.aio.AioRpcError as error:
        context.set_trailing_metadata(_passed_on(error.trailing_metadata()))
        raise
    context.set_trailing_metadata(_passed_on(await call.trailing_metadata()))


def _passed_on(metadata: Iterable[tuple[str, str | bytes]] | None) -> tuple[tuple[str, str | bytes], ...]:
    return tuple(
        (key, value)
        for key, value in metadata or ()
        if key in _TRAVELLING or not (key.startswith(("grpc-", ":")) or key in _OF_CONNECTION)
    )
