"""The HTTP/1.1 server: connections on a listening socket, swept for slow clients, drained when it is stopped."""

from __future__ import annotations

import asyncio
import socket
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol

from answermesh.gateway.http.connection import Connection
from answermesh.gateway.http.listener import BACKLOG
from answermesh.gateway.options import Options

if TYPE_CHECKING:
    from answermesh.gateway.http.exchange import Exchange

# Requests under way when the server stops may take this long.
_GRACE_S = 4.0
# Instants by which clients must have done something are looked at this often.
_SWEEP_S = 0.5


class Answering(Protocol):
    """Who answers."""

    options: Options

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

    async def _drain(self) -> None:
        self.draining = True
        self.gateway.drain()
        for connection in self.connections:
            connection.finish()
        if tasks := {connection.task for connection in self.connections if connection.task is not None}:
            await asyncio.wait(tasks, timeout=_GRACE_S)
            for connection in list(self.connections):
                connection.abort()
            await asyncio.wait(tasks)
