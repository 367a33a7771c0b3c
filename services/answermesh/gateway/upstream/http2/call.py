"""A streaming call over its attempts: one that the server surely has not seen is made once more, elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Protocol, TypeVar

from grpc import StatusCode

from answermesh.gateway.status import CallError, Metadata
from answermesh.gateway.upstream.calls import Unprocessed
from answermesh.gateway.upstream.http2.frames import ErrorCode
from answermesh.gateway.upstream.http2.streaming import StreamingStream

T = TypeVar("T")
# Request messages are kept for a second attempt up to this size in all, and only until the server has answered.
_KEPT_BYTES = 256 << 10


class Open(Protocol):
    """Opens an attempt: with one message and the end, or neither. Raises CallError."""

    async def __call__(self, only: bytes | None) -> StreamingStream: ...


class Http2Call:
    """See calls.StreamCall; entered, it is open, and left, it is over."""

    def __init__(self, open_attempt: Open, only: bytes | None) -> None:
        self._open = open_attempt
        self._only = only
        self._stream: StreamingStream | None = None
        self._sent: list[bytes] | None = []
        self._sent_bytes = 0
        self._done_writing = only is not None
        self._reopening = asyncio.Lock()

    async def __aenter__(self) -> Http2Call:
        self._stream = await self._open(self._only)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stream is not None and self._stream.is_open:
            self._stream.abort(ErrorCode.CANCEL, CallError(StatusCode.CANCELLED, "The call was left."))

    async def read(self) -> Sequence[bytes]:
        """See StreamCall."""
        stream = self._stream
        assert stream is not None, "the call must be entered"
        try:
            # As `_attempt` would, without its call for each read.
            messages = await stream.read()
        except Unprocessed as refused:
            messages = await (await self._reopened(stream, refused)).read()
        # The server has answered, so it has seen the call.
        self._sent = None
        return messages

    async def headers(self) -> Metadata:
        """See StreamCall."""
        return await self._attempt(StreamingStream.headers)

    async def trailers(self) -> Metadata:
        """See StreamCall."""
        return await self._attempt(StreamingStream.trailers)

    async def write(self, message: bytes) -> None:
        """See StreamCall."""
        await self._attempt(lambda stream: stream.write(message))
        self._sent_bytes += len(message)
        if self._sent_bytes > _KEPT_BYTES:
            self._sent = None
        elif self._sent is not None:
            self._sent.append(message)

    async def done_writing(self) -> None:
        """See StreamCall."""
        self._done_writing = True
        await self._attempt(StreamingStream.done_writing)

    async def _attempt(self, do: Callable[[StreamingStream], Awaitable[T]]) -> T:
        stream = self._stream
        assert stream is not None, "the call must be entered"
        try:
            return await do(stream)
        except Unprocessed as refused:
            return await do(await self._reopened(stream, refused))

    async def _reopened(self, refused: StreamingStream, error: Unprocessed) -> StreamingStream:
        """The second attempt, which whoever comes first opens. Raises `error` if there may be none."""
        async with self._reopening:
            if self._stream is None or self._stream is not refused:
                assert self._stream is not None
                return self._stream
            sent, self._sent = self._sent, None
            if sent is None:
                raise error
            stream = self._stream = await self._open(self._only)
            for message in sent:
                await stream.write(message)
            if self._done_writing and self._only is None:
                await stream.done_writing()
            return stream
