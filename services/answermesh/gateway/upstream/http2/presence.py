"""Whether a connection's peer is there: pinged when it has been silent for long, given up where it does not answer.

When to ping and when to give up: pings.Pings.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from answermesh.gateway.upstream.http2 import frames
from answermesh.gateway.upstream.http2.options import Keepalive
from answermesh.gateway.upstream.http2.pings import Pings

if TYPE_CHECKING:
    from answermesh.gateway.upstream.http2.connection import Connection

_PING = frames.frame(frames.PING, 0, 0, b"answerme")


class Presence:
    """Looks after one connection's peer, from `begin` to `end`."""

    def __init__(self, connection: Connection, keepalive: Keepalive) -> None:
        self._connection = connection
        self._pings = Pings(keepalive, connection.heard_at)
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Look when it is time."""
        connection = self._connection
        busy, last = bool(connection.streams), connection.last_stream_id
        at = self._pings.plan(connection.loop.time(), busy=busy, last_stream_id=last)
        self._timer = connection.loop.call_at(at, self._look)

    def end(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        connection = self._connection
        decision = self._pings.check(
            connection.loop.time(),
            connection.heard_at,
            busy=bool(connection.streams),
            has_news=connection.take_news(),
            last_stream_id=connection.last_stream_id,
        )
        if decision == "lost":
            connection.abort("the peer does not answer")
            return
        if decision == "ping":
            connection.outbox.control(_PING)
        self.begin()
