"""One call on a connection: what both kinds, unary and streaming, have of windows, messages and an end.

The receiver calls `on_head`, `on_data` and `failed`; each ends the call at most once, and an ended one is in no table.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from grpc import StatusCode

from answermesh.gateway.status import CallError, Metadata, details_from_proto
from answermesh.gateway.upstream.http2.frames import ErrorCode
from answermesh.gateway.upstream.http2.messages import Assembler
from answermesh.gateway.upstream.http2.responses import Head

if TYPE_CHECKING:
    from answermesh.gateway.upstream.http2.connection import Connection


class Stream(ABC):
    """See the module."""

    __slots__ = ("connection", "deadline", "head", "id", "partial", "received", "sent_end", "unsent", "window")

    # Whether its messages may wait for a moment: nobody has to answer them, and there are many.
    is_patient = False

    def __init__(self, connection: Connection, deadline: float) -> None:
        self.connection = connection
        # On the loop's clock.
        self.deadline = deadline
        self.id = 0
        # Of the response: its headers, once they have come, and a message of which a part has come.
        self.head: Head | None = None
        self.partial: Assembler | None = None
        # Bytes that the peer sent and that it was not told to have room for again.
        self.received = 0
        # Of the request: the peer's window, what waits for it, and whether the end was sent or follows that.
        self.window = 0
        self.unsent: memoryview | None = None
        self.sent_end = False

    @abstractmethod
    def on_messages(self, messages: list[bytes]) -> None:
        """Messages that were put together from parts."""

    @abstractmethod
    def on_data(self, buffer: bytes, start: int, end: int, taken: int) -> None:
        """Response bytes, which took `taken` of the windows."""

    @abstractmethod
    def succeeded(self, trailers: Metadata) -> None:
        """The call ended with OK."""

    @abstractmethod
    def failed(self, error: CallError) -> None:
        """The call ended otherwise."""

    def on_sent(self) -> None:  # noqa: B027 - only some have to know
        """What was unsent has gone out."""

    def on_opened(self) -> None:  # noqa: B027 - only some have to know
        """The response's headers have come."""

    def on_head(self, head: Head, ended: bool) -> None:
        """Headers or trailers of the response."""
        if ended:
            self._finish(head)
        elif 100 <= head.http_status < 200:
            return
        elif self.head is not None:
            self.abort(ErrorCode.PROTOCOL_ERROR, CallError(StatusCode.INTERNAL, "The upstream sent headers twice."))
        elif head.opens:
            self.head = head
            self.on_opened()
        else:
            code, message = head.status()
            self.abort(ErrorCode.CANCEL, CallError(code, message, metadata=head.metadata))

    def on_bare_end(self) -> None:
        """The peer ended the stream without trailers."""
        self._finish(Head())

    def _finish(self, trailers: Head) -> None:
        self.connection.release(self)
        code, message = trailers.status()
        if code is StatusCode.OK and self.partial is not None:
            code, message = StatusCode.INTERNAL, "The upstream ended the call within a message."
        if code is StatusCode.OK:
            self.succeeded(trailers.metadata)
        else:
            self.failed(self._call_error(code, message, trailers.metadata))

    def _call_error(self, code: StatusCode, message: str, trailers: Metadata) -> CallError:
        details = next((value for name, value in trailers if name == "grpc-status-details-bin"), b"")
        initial = self.head.metadata if self.head is not None else ()
        parsed = details_from_proto(details) if isinstance(details, bytes) and details else ()
        return CallError(code, message, parsed, metadata=(*initial, *trailers))

    def assemble(self, chunk: bytes, limit: int) -> None:
        """Response bytes that are not one whole message."""
        if self.head is None:
            fault = CallError(StatusCode.INTERNAL, "The upstream sent a message before its headers.")
            self.abort(ErrorCode.PROTOCOL_ERROR, fault)
            return
        partial = self.partial or Assembler(limit, self.head.encoding)
        before = len(partial)
        try:
            messages = partial.feed(chunk)
        except CallError as error:
            self.partial = None
            self.connection.buffered_bytes -= before
            self.abort(ErrorCode.CANCEL, error)
            return
        after = len(partial)
        self.partial = partial if after else None
        self.connection.buffered_bytes += after - before
        if messages:
            self.on_messages(messages)
        if self.connection.is_full:
            self.overflow()

    def overflow(self) -> None:
        """This call took the connection over what it may keep."""
        self.abort(
            ErrorCode.CANCEL,
            CallError(StatusCode.RESOURCE_EXHAUSTED, "Too much of the upstream's answers waits to be read; try later."),
        )

    def give_back(self, kept: int = 0) -> None:
        """Tell the peer that what it sent, but for `kept` bytes, has been taken, if that is worth a frame."""
        room = self.received - kept
        if room >= self.connection.stream_window // 2:
            self.received = kept
            self.connection.give_back(self.id, room)

    def abort(self, code: ErrorCode, error: CallError) -> None:
        """End the call from here; the peer is told. Does nothing to one that has ended."""
        if self.connection.reset(self, code):
            self.failed(error)

    def expire(self) -> None:
        """Its deadline has passed."""
        self.abort(ErrorCode.CANCEL, deadline_exceeded())

    @property
    def is_open(self) -> bool:
        """Whether there is anything to abort."""
        return self.id in self.connection.streams

    @property
    def held(self) -> int:
        """Bytes that the connection keeps for this call."""
        return len(self.partial) if self.partial is not None else 0


def deadline_exceeded() -> CallError:
    """The error of a call whose deadline passed here."""
    return CallError(StatusCode.DEADLINE_EXCEEDED, "The call's deadline passed before the upstream answered.")


NEVER = math.inf
