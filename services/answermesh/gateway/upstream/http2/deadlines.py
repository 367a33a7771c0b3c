"""Ends the calls of one connection whose deadline has passed.

A timer per call would cost more than the call's own bytes. This has one, for the earliest deadline that it was told
of; when it goes off, all calls are looked at. As most calls end long before their deadline, that is rare.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

from answermesh.gateway.upstream.http2.stream import Stream

# Many deadlines close together are looked after in steps of this.
_STEP_S = 0.005


class Deadlines:
    """`next_at` is when the calls are looked at next; who starts a call with an earlier deadline calls `plan`."""

    __slots__ = ("_loop", "_streams", "_timer", "next_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, streams: Mapping[int, Stream]) -> None:
        self._loop = loop
        self._streams = streams
        self._timer: asyncio.TimerHandle | None = None
        self.next_at = math.inf

    def plan(self, at: float) -> None:
        """Look at the calls at this instant at the latest."""
        self.close()
        self.next_at = at
        self._timer = self._loop.call_at(at, self._look)

    def close(self) -> None:
        """No more."""
        self.next_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = self._loop.time()
        self.next_at = math.inf
        due = [stream for stream in self._streams.values() if stream.deadline <= now]
        for stream in due:
            stream.expire()
        earliest = min((stream.deadline for stream in self._streams.values()), default=math.inf)
        if earliest < self.next_at:
            self.plan(max(earliest, now + _STEP_S))
