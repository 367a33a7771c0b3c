"""An exchange on a connection of HTTP/1.1: how its answer is framed, and where its body comes from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from answermesh.gateway.http.exchange import Exchange
from answermesh.gateway.metadata import Headers
from answermesh.gateway.status import CallError

if TYPE_CHECKING:
    from answermesh.gateway.http.connection import Connection

T = TypeVar("T")

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_NO_BODY = frozenset((204, 304))


class Http1Exchange(Exchange):
    """One request on a connection, which cancels whoever answers it when the client hangs up."""

    # Whether the connection is used on after the answer.
    keep_alive = False
    # Whether the end of the body has come, or why no more of it will.
    whole = False
    broken: CallError | None = None
    # Whether the answer has been sent to its end, and whether it is in chunks or marked by the connection's end.
    answered = False
    in_chunks = False
    until_close = False
    # The head is not larger than this; mostly that tells enough.
    most_head_bytes = 0

    def __init__(
        self, connection: Connection, method: str, path: str, query: str, headers: Headers, *, is_1_1: bool
    ) -> None:
        """`is_1_1`: the client knows chunks."""
        super().__init__(method, path, query, headers, connection.server.options, connection.cut)
        self._connection = connection
        self.peer = connection.peer
        self._is_1_1 = is_1_1
        # Body that has come and nobody has taken yet, and its size.
        self.received: list[bytes] = []
        self.untaken_bytes = 0

    # ------------------------------------------------------------ reading
    async def chunks(self) -> AsyncIterator[bytes]:
        """See Exchange."""
        while self.received or not self.whole:
            if not self.received:
                if b"expect" in self.fields and not self.started:
                    self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await self._connection.more_body(self)
            received, self.received = self.received, []
            self.untaken_bytes = 0
            self._connection.resume_reading()
            for chunk in received:
                yield chunk

    def head_exceeds(self, limit: int) -> bool:
        """See Exchange."""
        return self.most_head_bytes > limit and super().head_exceeds(limit)

    async def body(self) -> bytes:
        """See Exchange."""
        at_hand = self.body_at_hand()
        return await super().body() if at_hand is None else at_hand

    def body_at_hand(self) -> bytes | None:
        """The whole body, if it is there and plain; None if it must be waited for or looked into."""
        received = self.received
        if not self.whole or len(received) > 1 or b"content-encoding" in self.fields:
            return None
        body = received[0] if received else b""
        return body if len(body) <= self.options.max_body_bytes else None

    async def gone(self) -> None:
        """See Exchange."""

    def attended(self, work: Awaitable[T]) -> Awaitable[T]:
        """See Exchange."""
        return work

    # ------------------------------------------------------------ writing
    def _head(self, status: int, headers: Headers) -> bytes:
        server = self._connection.server
        parts = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, server.date_line]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        if not self.whole or server.draining or self.refusal is not None:
            # What is left of the body would be taken for the next request, and nobody waits for it.
            self.keep_alive = False
        parts.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        return b"".join(parts)

    async def _send_head(self, status: int, headers: Headers) -> None:
        if status not in _NO_BODY:
            if self._is_1_1:
                headers.append((b"transfer-encoding", b"chunked"))
                self.in_chunks = True
            else:
                self.until_close = True
                self.keep_alive = False
        self._connection.transport.write(self._head(status, headers))

    async def _send_body(self, chunk: bytes, *, more: bool) -> None:
        if self.method == "HEAD":
            chunk = b""
        elif self.in_chunks:
            framed = b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunk else b""
            chunk = framed if more else framed + b"0\r\n\r\n"
        self.answered = not more
        if chunk:
            self._connection.transport.write(chunk)
            if self._connection.write_paused:
                await self._connection.drained()

    async def _send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.answered = True
        self._connection.transport.write(self._head(status, headers) + body)
        if self._connection.write_paused:
            await self._connection.drained()

    def answer_now(self, status: int, content_type: str, body: bytes, headers: Headers | None = None) -> None:
        """Send a whole answer without waiting for the client to take it; see `answer`."""
        headers, body = self._whole(status, content_type, body, headers)
        self.answered = True
        self._connection.transport.write(self._head(status, headers) + body)
