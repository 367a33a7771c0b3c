"""What the gateway wants of a connection to a gRPC service: bytes in, bytes out, cancelled when left.

    Upstream.unary    one message each way
    Upstream.stream   any number of messages either way, as a `StreamCall`

`GrpcUpstream` does it with grpc.aio; another client may take its place behind the same two methods.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from answermesh.gateway.status import CallError, Metadata, details_from_proto


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a unary call."""

    message: bytes
    headers: Metadata
    trailers: Metadata


class StreamCall(Protocol):
    """A call under way. Each method raises CallError with the upstream's status once it has failed."""

    async def write(self, message: bytes) -> None:
        """Send a request message; waits while the upstream takes none."""
        ...

    async def done_writing(self) -> None:
        """Half-close: no more request messages."""
        ...

    async def read(self) -> bytes | None:
        """The next response message; None at the end of a call that went well."""
        ...

    async def headers(self) -> Metadata:
        """Initial metadata, once it has come."""
        ...

    async def trailers(self) -> Metadata:
        """Trailing metadata, after the end."""
        ...


class Upstream(Protocol):
    """A service to call. `timeout_s` None means no deadline."""

    async def unary(self, path: str, message: bytes, metadata: Metadata, timeout_s: float | None) -> Reply:
        """Call "/package.Service/Method". Raises CallError; cancelling cancels the RPC."""
        ...

    def stream(self, path: str, metadata: Metadata, timeout_s: float | None) -> AbstractAsyncContextManager[StreamCall]:
        """Open a stream; leaving the context cancels what is still under way."""
        ...


class GrpcUpstream:
    """A service behind a grpc.aio channel, which stays its owner's to close."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._unary: dict[str, Any] = {}
        self._stream: dict[str, Any] = {}

    async def unary(self, path: str, message: bytes, metadata: Metadata, timeout_s: float | None) -> Reply:
        """See Upstream."""
        method = self._unary.get(path)
        if method is None:
            # Paths come from the plan, so there are as many as methods.
            method = self._unary[path] = self._channel.unary_unary(path)
        call = method(message, metadata=metadata, timeout=timeout_s)
        try:
            reply = await call
            return Reply(reply, _pairs(await call.initial_metadata()), _pairs(await call.trailing_metadata()))
        except grpc.aio.AioRpcError as error:
            raise _call_error(error) from error
        finally:
            call.cancel()

    @asynccontextmanager
    async def stream(self, path: str, metadata: Metadata, timeout_s: float | None) -> AsyncIterator[StreamCall]:
        """See Upstream."""
        method = self._stream.get(path)
        if method is None:
            method = self._stream[path] = self._channel.stream_stream(path)
        call = method(metadata=metadata, timeout=timeout_s)
        try:
            yield _GrpcStream(call)
        finally:
            call.cancel()


class _GrpcStream:
    def __init__(self, call: Any) -> None:
        self._call = call

    async def write(self, message: bytes) -> None:
        try:
            await self._call.write(message)
        except grpc.aio.AioRpcError as error:
            raise _call_error(error) from error
        except asyncio.InvalidStateError as error:
            raise await self._ended() from error

    async def done_writing(self) -> None:
        try:
            await self._call.done_writing()
        except grpc.aio.AioRpcError as error:
            raise _call_error(error) from error

    async def read(self) -> bytes | None:
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise _call_error(error) from error
        return None if message is grpc.aio.EOF else message

    async def headers(self) -> Metadata:
        try:
            return _pairs(await self._call.initial_metadata())
        except grpc.aio.AioRpcError as error:
            raise _call_error(error) from error

    async def trailers(self) -> Metadata:
        return _pairs(await self._call.trailing_metadata())

    async def _ended(self) -> CallError:
        code = await self._call.code()
        return CallError(
            code if code is not grpc.StatusCode.OK else grpc.StatusCode.CANCELLED,
            await self._call.details() or "The service ended the call before it had all messages.",
        )


def _pairs(metadata: Any) -> Metadata:
    return tuple((name, value) for name, value in metadata) if metadata else ()


def _call_error(error: grpc.aio.AioRpcError) -> CallError:
    trailers = _pairs(error.trailing_metadata())
    details = next((value for name, value in trailers if name == "grpc-status-details-bin"), b"")
    return CallError(
        error.code(),
        error.details() or "",
        details_from_proto(details if isinstance(details, bytes) else b""),
        metadata=(*_pairs(error.initial_metadata()), *trailers),
    )
