"""What a connection waits for of its client, and until when.

A wait ends at an instant that the server's sweep looks at once in a while, so that no timer is set per request.
"""

from __future__ import annotations

import asyncio
import enum
import math

NEVER = math.inf


class Overdue(enum.Enum):
    """What did not come in time."""

    ROOM = enum.auto()
    BODY = enum.auto()
    REQUEST = enum.auto()


class Waits:
    """The waits of one connection; instants are of the loop's clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # For a request, or the rest of its head; for the client to close.
        self.request_until_s = NEVER
        self._body_until_s = NEVER
        self._room_until_s = NEVER
        # Set while a task waits.
        self._body: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    def request(self, timeout_s: float) -> None:
        """Wait so long for the client to send, or to close."""
        self.request_until_s = self._loop.time() + timeout_s

    async def body(self, timeout_s: float) -> None:
        """Returns when `body_came` is called."""
        self._body_until_s = self._loop.time() + timeout_s
        self._body = self._loop.create_future()
        try:
            await self._body
        finally:
            self._body = None
            self._body_until_s = NEVER

    def body_came(self) -> bool:
        """Wake whoever waits for a body; False if nobody does."""
        _wake(self._body)
        return self._body is not None

    async def room(self, timeout_s: float) -> None:
        """Returns when `room_came` is called."""
        self._room_until_s = self._loop.time() + timeout_s
        self._room = self._loop.create_future()
        try:
            await self._room
        finally:
            self._room = None
            self._room_until_s = NEVER

    def room_came(self) -> None:
        """Wake whoever waits for room to write."""
        _wake(self._room)

    def overdue(self, now_s: float) -> Overdue | None:
        """The wait that is over, if one is; told once, but for the room: for want of it the connection ends."""
        if now_s >= self._room_until_s:
            return Overdue.ROOM
        if now_s >= self._body_until_s:
            self._body_until_s = NEVER
            return Overdue.BODY
        if now_s >= self.request_until_s:
            self.request_until_s = NEVER
            return Overdue.REQUEST
        return None


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
