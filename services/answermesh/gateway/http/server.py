"""The HTTP/1.1 server: connections on a listening socket, swept for slow clients, drained when it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol

from answermesh.gateway.http.connection import Connection
from answermesh.gateway.http.listener import BACKLOG
from answermesh.gateway.options import Options

if TYPE_CHECKING:
    from answermesh.gateway.http.exchange import Exchange
    from answermesh.gateway.http.http1 import Http1Exchange
    from answermesh.gateway.quick import QuickCall

# Requests under way when the server stops may take this long.
_GRACE_S = 4.0
# Instants by which clients must have done something are looked at this often.
_SWEEP_S = 0.5


class Answering(Protocol):
    """Who answers."""

    options: Options

    def begin(self, exchange: Http1Exchange, finished: Callable[[bool], None]) -> QuickCall | None:
        """Answer one request without a task, and tell so; None if it must be handled."""

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""

    def drain(self) -> None:
        """Cut the streams under way."""


class Server:
    """The connections of one process."""

    def __init__(self, gateway: Answering) -> None:
        self.gateway = gateway
        self.options = gateway.options
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self._all_gone = asyncio.Event()
        # Each connection ends after the answer it makes.
        self.draining = False
        # The Date header (RFC 9110 6.6.1), right to within the sweep.
        self.date_line = b""
        self._set_date()

    async def serve(self, listening: socket.socket) -> None:
        """Serve until cancelled; then end requests under way, cut streams, and close the socket."""
        server = await self.loop.create_server(lambda: Connection(self), sock=listening, backlog=BACKLOG)
        try:
            await self._sweep()
        finally:
            server.close()
            await self._drain()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._set_date()
            now_s = self.loop.time()
            for connection in list(self.connections):
                connection.expire(now_s)

    def _set_date(self) -> None:
        self.date_line = f"date: {formatdate(usegmt=True)}\r\n".encode()

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self._all_gone.set()

    async def _drain(self) -> None:
        self.draining = True
        self.gateway.drain()
        for connection in list(self.connections):
            connection.finish()
        self._all_gone.clear()
        if self.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), _GRACE_S)
        tasks = {connection.task for connection in self.connections if connection.task is not None}
        for connection in list(self.connections):
            connection.abort()
        if tasks:
            await asyncio.wait(tasks)
