"""When a connection's socket is let be for a moment: while answers come in one close after the other.

Being woken for each answer of many is the dearest part of handing it on. What has come in during a rest takes one
waking, one reading, and one write per client; and what those clients ask next goes out together too. The first message
after a pause is never held up, and a unary call only where many are under way, for less than they take from each other.
"""

from __future__ import annotations

import asyncio
import math

from answermesh.gateway.upstream.http2.outbox import Outbox

# While nothing is under way but streams that nobody answers: far below what a reader of text notices (20 to 50 ms), far
# above the distance of messages in a burst.
_STREAMS_REST_S = 0.008
# While so many calls of any kind are under way: the shortest that uvloop can tell.
_MANY_CALLS = 16
_MANY_REST_S = 0.001
# Chunks that follow each other within this are close. uvloop's clock has steps of 1 ms.
_CLOSE_S = 0.002
# A rest in which so much came held up a large transfer, which is not disturbed again for this long.
_BULK_BYTES = 32 << 10
_BULK_S = 0.05


class Rests:
    """How long to rest: decisions without a clock of their own."""

    __slots__ = ("_awake_until", "_ended_at")

    def __init__(self) -> None:
        # When the last rest ended, and until when there is to be none.
        self._ended_at = -math.inf
        self._awake_until = -math.inf

    def wanted_s(self, now: float, before: float, size: int, *, calls: int, patient: int) -> float:
        """How long to rest after a chunk of `size` bytes that came at `now`; the last one came at `before`.

        Of the `calls` that are under way, `patient` are streams that nobody answers.
        """
        if size >= _BULK_BYTES and self._ended_at > before:
            self._awake_until = now + _BULK_S
        if now - max(before, self._ended_at) > _CLOSE_S or now < self._awake_until:
            return 0.0
        if patient == calls:
            return _STREAMS_REST_S if calls else 0.0
        return _MANY_REST_S if calls >= _MANY_CALLS else 0.0

    def ended(self, now: float) -> None:
        """A rest is over."""
        self._ended_at = now


class Resting:
    """Lets one connection's socket be."""

    __slots__ = ("_loop", "_outbox", "_rest_s", "_rests", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, outbox: Outbox) -> None:
        self._loop = loop
        # Whose transport is read.
        self._outbox = outbox
        self._rests = Rests()
        self._timer: asyncio.TimerHandle | None = None
        self._rest_s = 0.0

    def after(self, now: float, before: float, size: int, *, calls: int, patient: int) -> None:
        """See Rests.wanted_s; do it."""
        rest_s = self._rests.wanted_s(now, before, size, calls=calls, patient=patient)
        transport = self._outbox.transport
        if rest_s and self._timer is None and transport is not None:
            transport.pause_reading()
            self._rest_s = rest_s
            self._timer = self._loop.call_later(rest_s, self.end)

    def hurry(self) -> None:
        """A call begins that is not patient: it is not kept waiting as streams are."""
        if self._rest_s > _MANY_REST_S:
            self.end()

    def end(self) -> None:
        """Read on, if there is a rest."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        self._rest_s = 0.0
        self._rests.ended(self._loop.time())
        if self._outbox.transport is not None:
            self._outbox.transport.resume_reading()
