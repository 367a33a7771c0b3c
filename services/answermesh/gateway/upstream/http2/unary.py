"""A call with one message each way, awaited as one future."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpc import StatusCode

from answermesh.gateway.status import CallError, Metadata
from answermesh.gateway.upstream.calls import Completion, Reply
from answermesh.gateway.upstream.http2.frames import PREFIX, ErrorCode
from answermesh.gateway.upstream.http2.stream import Stream

if TYPE_CHECKING:
    from answermesh.gateway.upstream.http2.connection import Connection

_unpack = PREFIX.unpack_from


class UnaryStream(Stream):
    """`future` gets the Reply or a CallError."""

    __slots__ = ("future", "message")

    def __init__(self, connection: Connection, deadline: float, future: Completion) -> None:
        super().__init__(connection, deadline)
        self.future = future
        self.message: bytes | None = None

    def cancel(self) -> None:
        """See calls.Started."""
        self.abort(ErrorCode.CANCEL, CallError(StatusCode.CANCELLED, "The call was cancelled."))

    def on_data(self, buffer: bytes, start: int, end: int, taken: int) -> None:
        """See Stream."""
        size = end - start - 5
        if size >= 0 and self.partial is None and self.message is None and self.head is not None:
            flag, length = _unpack(buffer, start)
            if flag == 0 and length == size and length <= self.connection.max_message_bytes:
                self.message = buffer[start + 5 : end]
                return
        self.received += taken
        self.assemble(buffer[start:end], self.connection.max_message_bytes)
        # The caller waits for all of it, so there is always room, within the message's limit.
        self.give_back()

    def on_messages(self, messages: list[bytes]) -> None:
        """See Stream."""
        if self.message is not None or len(messages) > 1:
            fault = CallError(StatusCode.INTERNAL, "The upstream answered a unary call with more than one message.")
            self.abort(ErrorCode.CANCEL, fault)
            return
        self.message = messages[0]

    def succeeded(self, trailers: Metadata) -> None:
        """See Stream."""
        if self.message is None:
            self.failed(CallError(StatusCode.INTERNAL, "The upstream ended the call without an answer."))
        elif not self.future.done():
            assert self.head is not None
            self.future.set_result(Reply(self.message, self.head.metadata, trailers))

    def failed(self, error: CallError) -> None:
        """See Stream."""
        if not self.future.done():
            self.future.set_exception(error)
