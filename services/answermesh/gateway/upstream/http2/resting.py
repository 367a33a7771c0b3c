"""When a connection's socket is let be for a moment: while messages of streams come in one close after the other.

Being woken for each message of a burst is the dearest part of handing it on. What has come in during a rest takes one
waking, and one write per client. The first message after a pause is never held up, and nothing is while somebody waits
for the one answer of a unary call, or may answer what a stream says.
"""

from __future__ import annotations

import asyncio
import math

from answermesh.gateway.upstream.http2.outbox import Outbox

# Far below what a reader of text notices (20 to 50 ms), far above the distance of messages in a burst.
_REST_S = 0.004
# Chunks that follow each other within this are of one burst. uvloop's clock has steps of 1 ms.
_DENSE_S = 0.002
# A rest in which so much came held up a large transfer, which is not disturbed again for this long.
_BULK_BYTES = 32 << 10
_BULK_S = 0.05


class Rests:
    """Whether to rest: decisions without a clock of their own."""

    __slots__ = ("_awake_until", "_ended_at")

    def __init__(self) -> None:
        # When the last rest ended, and until when there is to be none.
        self._ended_at = -math.inf
        self._awake_until = -math.inf

    def wanted(self, now: float, before: float, size: int) -> bool:
        """Whether to rest after a chunk of `size` bytes that came at `now`; the last one came at `before`."""
        if size >= _BULK_BYTES and self._ended_at > before:
            self._awake_until = now + _BULK_S
        return now - max(before, self._ended_at) <= _DENSE_S and now >= self._awake_until

    def ended(self, now: float) -> None:
        """A rest is over."""
        self._ended_at = now


class Resting:
    """Lets one connection's socket be."""

    __slots__ = ("_loop", "_outbox", "_rests", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, outbox: Outbox) -> None:
        self._loop = loop
        # Whose transport is read.
        self._outbox = outbox
        self._rests = Rests()
        self._timer: asyncio.TimerHandle | None = None

    def after(self, now: float, before: float, size: int) -> None:
        """See Rests.wanted; do it."""
        transport = self._outbox.transport
        if self._rests.wanted(now, before, size) and self._timer is None and transport is not None:
            transport.pause_reading()
            self._timer = self._loop.call_later(_REST_S, self.end)

    def end(self) -> None:
        """Read on, if there is a rest."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        self._rests.ended(self._loop.time())
        if self._outbox.transport is not None:
            self._outbox.transport.resume_reading()
