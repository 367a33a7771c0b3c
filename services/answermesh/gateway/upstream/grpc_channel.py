"""Calls through a grpc.aio channel."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

from answermesh.gateway.status import CallError, Metadata, details_from_proto, unavailable
from answermesh.gateway.upstream.calls import Completion, Reply, StreamCall
from answermesh.rpc.status import BROKEN_OFF

_BROKE = "The connection to the service broke while the request was being sent."


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
        call = method(message, metadata=metadata, timeout=_given(timeout_s))
        try:
            reply = await call
            return Reply(reply, _pairs(await call.initial_metadata()), _pairs(await call.trailing_metadata()))
        except grpc.aio.AioRpcError as error:
            raise _call_error(error) from error
        finally:
            call.cancel()

    def start(
        self, path: str, message: bytes, metadata: Metadata, timeout_s: float | None, completion: Completion
    ) -> None:
        """See Upstream: grpc.aio has no calls without a task."""

    @asynccontextmanager
    async def stream(
        self, path: str, metadata: Metadata, timeout_s: float | None, only: bytes | None = None
    ) -> AsyncIterator[StreamCall]:
        """See Upstream."""
        method = self._stream.get(path)
        if method is None:
            method = self._stream[path] = self._channel.stream_stream(path)
        call = method(metadata=metadata, timeout=_given(timeout_s))
        stream = _GrpcStream(call)
        try:
            if only is not None:
                await stream.send_only(only)
            yield stream
        finally:
            call.cancel()
            stream.close()


class _GrpcStream:
    def __init__(self, call: Any) -> None:
        self._call = call
        # A read of grpc.aio that is cancelled cancels the call, so reads are kept over the cancelling of their waiters.
        self._reading: asyncio.Task[Any] | None = None

    def close(self) -> None:
        if self._reading is not None and not self._reading.cancel() and not self._reading.cancelled():
            # Looked at, so that a failure which nobody waited for any more is not logged as forgotten.
            self._reading.exception()

    async def send_only(self, message: bytes) -> None:
        """The one message and the half-close; if the call is over by then, the read tells why."""
        with contextlib.suppress(CallError):
            await self.write(message)
            await self.done_writing()

    async def write(self, message: bytes) -> None:
        try:
            await self._call.write(message)
        except grpc.aio.AioRpcError as error:
            raise _call_error(error) from error
        except asyncio.InvalidStateError as error:
            raise await self._ended() from error
        except grpc.aio.InternalError as error:
            raise unavailable(_BROKE) from error

    async def done_writing(self) -> None:
        try:
            await self._call.done_writing()
        except grpc.aio.AioRpcError as error:
            raise _call_error(error) from error
        except grpc.aio.InternalError as error:
            raise unavailable(_BROKE) from error

    async def read(self) -> Sequence[bytes]:
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._call.read())
        try:
            message = await asyncio.shield(self._reading)
        except grpc.aio.AioRpcError as error:
            raise _call_error(error) from error
        # Not in `finally`: a message may come in the same turn of the loop as the cancelling of who waits for it, and
        # is kept for the next one.
        self._reading = None
        return () if message is grpc.aio.EOF else (message,)

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


def _given(timeout_s: float | None) -> float | None:
    """The timeout that makes grpc.aio give the service no more than was asked.

    It sends timeouts with three digits, rounded up (grpc/src/core/lib/transport/timeout_encoding.cc).
    """
    if timeout_s is None or timeout_s < 1:
        return timeout_s
    return timeout_s - 10.0 ** (math.floor(math.log10(timeout_s)) - 2)


def _pairs(metadata: Any) -> Metadata:
    return tuple((name, value) for name, value in metadata) if metadata else ()


def _call_error(error: grpc.aio.AioRpcError) -> CallError:
    if error.code() is grpc.StatusCode.INTERNAL and error.details() == BROKEN_OFF:
        return unavailable(_BROKE)
    trailers = _pairs(error.trailing_metadata())
    details = next((value for name, value in trailers if name == "grpc-status-details-bin"), b"")
    return CallError(
        error.code(),
        error.details() or "",
        details_from_proto(details if isinstance(details, bytes) else b""),
        metadata=(*_pairs(error.initial_metadata()), *trailers),
    )
