"""One HTTP/1.1 connection: its requests are answered one after the other.

A request that needs no task gets none (see `quick`); another's is cancelled when the client hangs up.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING

from answermesh.gateway.http.http1 import Http1Exchange
from answermesh.gateway.http.incoming import Incoming
from answermesh.gateway.http.malformed import head_too_large, too_slow
from answermesh.gateway.http.waits import NEVER, Overdue, Waits
from answermesh.gateway.status import CallError

if TYPE_CHECKING:
    from answermesh.gateway.http.server import Server
    from answermesh.gateway.quick import QuickCall

# Body read ahead of whoever takes it, and requests read ahead of the one being answered.
_AHEAD_BYTES = 256 << 10
_AHEAD_REQUESTS = 16
# How long a client may go on sending after it was told that the connection ends.
_LINGER_S = 2.0
# For a client that comes when there are as many as may be.
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(asyncio.Protocol):
    """See the module."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self.server = server
        # What answers the current request: a task, or a call that needs none.
        self.task: asyncio.Task[None] | None = None
        self._call: QuickCall | None = None
        self._current: Http1Exchange | None = None
        self.write_paused = False
        # The client's address without its port; "" on a Unix socket.
        self.peer = ""
        self._loop = server.loop
        self._incoming = Incoming(self)
        self._waiting: deque[Http1Exchange] = deque()
        self._waits = Waits(server.loop)
        self._reading_paused = False
        # The client hung up, or we cut it off: whoever answers has been cancelled.
        self._ended = False
        # Nothing more is read: the last answer is being made or has been sent.
        self.deaf = False

    # ------------------------------------------------------------ the socket
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self.transport = transport  # type: ignore[assignment]  # a TCP or Unix transport reads and writes
        name = transport.get_extra_info("peername")
        self.peer = name[0] if isinstance(name, tuple) else ""
        if len(self.server.connections) >= self.server.options.max_connections:
            self.deaf = True
            transport.write(_FULL)  # type: ignore[attr-defined]  # as above
            transport.close()
            return
        self.server.connections.add(self)
        self._waits.request(self.server.options.keep_alive_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.server.forget(self)
        self._end()

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        if self.deaf:
            return
        if (error := self._incoming.feed(data)) is not None:
            self._refuse(error)
        if self._incoming.in_head:
            self._check_head(len(data))
        if self._current is None and self._waiting:
            self._advance()
        if len(self._waiting) > _AHEAD_REQUESTS:
            self._pause_reading()

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self.write_paused = False
        self._waits.room_came()
        self._advance()

    # ------------------------------------------------------------ what comes in
    def on_request(self, exchange: Http1Exchange) -> None:
        """A request has begun: its head has come."""
        if exchange.refusal is not None:
            self.deaf = True
        self._waiting.append(exchange)
        self._waits.request_until_s = NEVER

    def on_body(self, exchange: Http1Exchange) -> None:
        """A part of its body has come."""
        if not self._waits.body_came() and exchange.untaken_bytes > _AHEAD_BYTES:
            self._pause_reading()

    def on_body_end(self) -> None:
        """All of its body has come."""
        self._waits.body_came()

    def _check_head(self, size: int) -> None:
        """A head that is not whole yet: it must not grow, nor take, for ever."""
        incoming = self._incoming
        if not incoming.head_bytes:
            self._waits.request(self.server.options.head_timeout_s)
        incoming.head_bytes += size
        limit = self.server.options.max_url_bytes + self.server.options.max_header_bytes
        if incoming.head_bytes > limit:
            self._refuse(head_too_large(limit))

    def _refuse(self, error: CallError) -> None:
        """Answer what is not HTTP, after the requests before it, and hear nothing more."""
        self.deaf = True
        arriving = self._incoming.arriving
        if arriving is not None and not arriving.whole:
            arriving.broken = error
            self._waits.body_came()
            return
        exchange = Http1Exchange(self, "GET", "", "", [], is_1_1=True)
        exchange.refusal = error
        self._incoming.in_head = False
        self._waits.request_until_s = NEVER
        self._waiting.append(exchange)
        self._advance()

    # ------------------------------------------------------------ waiting for the client
    async def more_body(self, exchange: Http1Exchange) -> None:
        """Returns when there is more of the body, or its end. Raises CallError, if there will be none."""
        if not exchange.received and not exchange.whole and exchange.broken is None:
            # A client that is answered already may take its time: it streams both ways.
            await self._waits.body(NEVER if exchange.started else self.server.options.stall_s)
        if not exchange.received and exchange.broken is not None:
            raise exchange.broken

    async def drained(self) -> None:
        """Returns when the client has taken most of what was written."""
        await self._waits.room(self.server.options.stall_s)

    def resume_reading(self) -> None:
        """What was read ahead has been taken."""
        if self._reading_paused and not self._ended:
            self._reading_paused = False
            self.transport.resume_reading()

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self._ended:
            self._reading_paused = True
            self.transport.pause_reading()

    def expire(self, now_s: float) -> None:
        """End the wait that is over."""
        match self._waits.overdue(now_s):
            case Overdue.BODY if (arriving := self._incoming.arriving) is not None:
                arriving.broken = too_slow()
                self._waits.body_came()
            case Overdue.REQUEST if self._incoming.in_head:
                self._refuse(too_slow())
            case Overdue.ROOM | Overdue.REQUEST:
                self.transport.abort()

    # ------------------------------------------------------------ answering
    def _advance(self) -> None:
        """Answer the next request, if none is being answered and the client takes what it is sent."""
        while self._waiting and self._current is None and not self.write_paused and not self._ended:
            exchange = self._current = self._waiting.popleft()
            if self._reading_paused and not self._waiting:
                self.resume_reading()
            self._call = self.server.gateway.begin(exchange, self._call_ended)
            if self._call is None:
                self.task = self._loop.create_task(self._answer(exchange))

    def _call_ended(self, answered: bool) -> None:
        exchange = self._current
        assert exchange is not None
        self._call = None
        if answered:
            self._after(exchange)
        else:
            self.task = self._loop.create_task(self._answer(exchange))

    async def _answer(self, exchange: Http1Exchange) -> None:
        try:
            await self.server.gateway.handle(exchange)
        except asyncio.CancelledError:
            if not self._ended:
                raise
        else:
            self.task = None
            self._after(exchange)

    def _after(self, exchange: Http1Exchange) -> None:
        """The request has been answered, or what could be of it."""
        self._current = None
        if not self._goes_on_after(exchange):
            return
        if self._waiting:
            self._advance()
        elif self.server.draining:
            self._close()
        elif not self._incoming.in_head:
            self._waits.request(self.server.options.keep_alive_s)

    def _close(self) -> None:
        self.deaf = True
        self.transport.close()

    def _goes_on_after(self, exchange: Http1Exchange) -> bool:
        """Whether the connection is used on; else it ends so that the client gets all of the answer."""
        if not exchange.answered:
            self.deaf = True
            if exchange.until_close:
                self._reset()
            else:
                self._close()
            return False
        if exchange.keep_alive:
            return True
        if exchange.whole or not self.transport.can_write_eof():
            self._close()
        else:
            self._linger()
        return False

    def _linger(self) -> None:
        """Closing now would reset the connection while the client still sends, and it might lose the answer."""
        self.deaf = True
        self._waits.request(_LINGER_S)
        try:
            self.transport.write_eof()
        except OSError:
            # The client was faster.
            self.transport.abort()
        else:
            self.resume_reading()

    # ------------------------------------------------------------ ending
    def _reset(self) -> None:
        """Break the connection: a body that ends with it must not look whole when it is cut."""
        raw = self.transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            # To linger for 0 s is to send RST instead of FIN.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def cut(self) -> None:
        """End the connection, whatever is under way; what was written before still goes out."""
        self._end()
        self._close()

    def abort(self) -> None:
        """End the connection at once."""
        self._end()
        self.transport.abort()

    def finish(self) -> None:
        """End the connection if nothing is under way; else it ends after the answer."""
        if self._current is None and not self._waiting:
            self._close()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            if self.task is not None:
                self.task.cancel()
            elif self._call is not None:
                self._call.cancel()
