"""When to ask the peer whether it is there, and when to give it up: decisions without a clock of their own."""

from __future__ import annotations

import math

from answermesh.gateway.upstream.http2.options import Keepalive

# A loop that ran this late has not read what may have come meanwhile.
_LATE_S = 0.5


class Pings:
    """The pings of one connection. All instants are of the loop's clock."""

    __slots__ = ("_heard_at", "_keepalive", "_pinged_after", "_planned_at", "_quiet_pings", "_sent_at", "unanswered")

    def __init__(self, keepalive: Keepalive, now: float) -> None:
        self._keepalive = keepalive
        self._heard_at = now
        self._planned_at = now + keepalive.time_s
        self._sent_at = -math.inf
        # Pings since headers or data last came.
        self._quiet_pings = 0
        # The stream that was the last opened one when the last ping went out.
        self._pinged_after = 0
        self.unanswered = False

    def check(self, now: float, heard_at: float, *, busy: bool, has_news: bool, last_stream_id: int) -> str:
        """ "ping", "lost" or "" at `now`; `heard_at` is when the last byte came.

        `busy` is whether calls are under way, `has_news` whether headers or data came since the last check.
        """
        late = now > self._planned_at + _LATE_S
        if has_news:
            self._quiet_pings = 0
        if self.unanswered and heard_at > self._sent_at:
            # Any sign of life will do: behind a large answer, that to a ping may be long in coming.
            self.unanswered = False
        self._heard_at = max(self._heard_at, heard_at) if busy or self.unanswered else now
        if self.unanswered:
            return "lost" if now >= self._sent_at + self._keepalive.timeout_s and not late else ""
        if not busy or now < self._due(last_stream_id):
            return ""
        self.unanswered = True
        self._sent_at = now
        self._quiet_pings += 1
        self._pinged_after = last_stream_id
        return "ping"

    def plan(self, now: float, *, busy: bool, last_stream_id: int) -> float:
        """The instant of the next check."""
        if self.unanswered:
            # If it has answered, the next ping may be due before this one would have been too late.
            due = min(self._sent_at + self._keepalive.timeout_s, now + self._keepalive.time_s)
        elif busy:
            # A call that starts meanwhile may want its ping sooner.
            due = min(self._due(last_stream_id), now + self._keepalive.time_s)
        else:
            due = now + self._keepalive.time_s
        self._planned_at = max(due, now + 0.05)
        return self._planned_at

    def _due(self, last_stream_id: int) -> float:
        due = self._heard_at + self._keepalive.time_s
        # One more for calls that started after the last ping: whoever answers them ends the quiet time with it.
        early = self._keepalive.early_pings + (last_stream_id > self._pinged_after)
        return due if self._quiet_pings < early else max(due, self._sent_at + self._keepalive.slow_s)
