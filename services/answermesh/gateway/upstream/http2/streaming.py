"""A call with any number of messages either way. See calls.StreamCall for what its methods promise."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from grpc import StatusCode

from answermesh.gateway.status import CallError, Metadata
from answermesh.gateway.upstream.http2.frames import PREFIX, ErrorCode
from answermesh.gateway.upstream.http2.stream import Stream

if TYPE_CHECKING:
    from answermesh.gateway.upstream.http2.connection import Connection

_unpack = PREFIX.unpack_from
# A reader, a writer, and who asks for the headers.
_MOST_WAITERS = 3


class StreamingStream(Stream):
    """One attempt of a streaming call."""

    __slots__ = ("_ended", "_error", "_messages", "_trailers", "_unread", "_waiters", "is_patient")

    def __init__(self, connection: Connection, deadline: float, *, is_patient: bool = False) -> None:
        super().__init__(connection, deadline)
        self.is_patient = is_patient
        self._messages: list[bytes] = []
        # Bytes of the messages that nobody has read.
        self._unread = 0
        self._ended = False
        self._error: CallError | None = None
        self._trailers: Metadata = ()
        # Who waits for anything to change.
        self._waiters: list[asyncio.Future[None]] = []

    # ------------------------------------------------------------ from the peer
    def on_data(self, buffer: bytes, start: int, end: int, taken: int) -> None:
        """See Stream."""
        connection = self.connection
        self.received += taken
        if self.received > connection.stream_window:
            fault = CallError(StatusCode.INTERNAL, "The upstream sent more than its window allowed.")
            self.abort(ErrorCode.FLOW_CONTROL_ERROR, fault)
            return
        size = end - start - 5
        if size >= 0 and self.partial is None and self.head is not None:
            flag, length = _unpack(buffer, start)
            if flag == 0 and length == size and length <= connection.max_message_bytes:
                self._messages.append(buffer[start + 5 : end])
                self._unread += size
                connection.buffered_bytes += size
                if connection.buffered_bytes > connection.max_buffered_bytes:
                    self.overflow()
                elif self._waiters:
                    self._wake()
                return
        self.assemble(buffer[start:end], connection.max_message_bytes)
        if not self._messages and not all(waiter.done() for waiter in self._waiters):
            # Somebody waits for the rest of a message that may be larger than the window.
            self.give_back()

    def on_messages(self, messages: list[bytes]) -> None:
        """See Stream."""
        self._messages += messages
        size = sum(map(len, messages))
        self._unread += size
        self.connection.buffered_bytes += size
        self._wake()

    def on_opened(self) -> None:
        """See Stream."""
        self._wake()

    def on_sent(self) -> None:
        """See Stream."""
        self._wake()

    def succeeded(self, trailers: Metadata) -> None:
        """See Stream."""
        self._trailers = trailers
        self._ended = True
        self._wake()

    def failed(self, error: CallError) -> None:
        """See Stream."""
        if not self._ended:
            self._error = error
            self._ended = True
            self._wake()

    @property
    def held(self) -> int:
        """See Stream. What is left to be read of an ended call is no longer the connection's."""
        return self._unread + super().held

    # ------------------------------------------------------------ from the caller
    async def read(self) -> Sequence[bytes]:
        """See StreamCall."""
        while not self._messages:
            if self._ended:
                if self._error is not None:
                    raise self._error
                return ()
            self.give_back()
            await self._change()
        messages, self._messages = self._messages, []
        if not self._ended:
            self.connection.buffered_bytes -= self._unread
            self.give_back(0 if self.partial is None else min(self.received, len(self.partial)))
        self._unread = 0
        return messages

    async def write(self, message: bytes) -> None:
        """See StreamCall."""
        limit = self.connection.max_message_bytes
        if len(message) > limit:
            raise CallError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"The request message of {len(message)} bytes is larger than {limit}; send less at once.",
            )
        # A writer that was cancelled while it waited has left its message.
        await self._sent()
        assert not self.sent_end
        self.connection.outbox.send(self, PREFIX.pack(0, len(message)) + message)
        await self._sent()

    async def done_writing(self) -> None:
        """See StreamCall."""
        if not self._ended and not self.sent_end:
            self.connection.outbox.end(self)

    async def headers(self) -> Metadata:
        """See StreamCall."""
        while self.head is None and not self._ended:
            await self._change()
        if self.head is not None:
            return self.head.metadata
        if self._error is not None:
            raise self._error
        return ()

    async def trailers(self) -> Metadata:
        """See StreamCall."""
        while not self._ended:
            await self._change()
        return self._trailers

    async def _sent(self) -> None:
        """Until nothing is unsent. Raises CallError if the call is over."""
        while not self._ended:
            if self.unsent is None:
                return
            await self._change()
        raise self._error or CallError(StatusCode.CANCELLED, "The service ended the call before it had all messages.")

    def _change(self) -> asyncio.Future[None]:
        """Done when anything has changed."""
        if len(self._waiters) >= _MOST_WAITERS:
            # Those that were cancelled.
            self._waiters = [waiter for waiter in self._waiters if not waiter.done()]
        waiter: asyncio.Future[None] = self.connection.loop.create_future()
        self._waiters.append(waiter)
        return waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
