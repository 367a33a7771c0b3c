"""How many frames a peer may send that bring nothing forward: pings, settings, priorities, empty data, unknown."""

from __future__ import annotations

# Each costs us microseconds. Servers that measure the bandwidth of an upload ping many times a second.
_AT_ONCE = 10_000
_PER_SECOND = 1000


class Meter:
    """A bucket of allowances, filled again with time."""

    __slots__ = ("_at", "_left")

    def __init__(self, now: float) -> None:
        self._left = float(_AT_ONCE)
        self._at = now

    def allows(self, now: float) -> bool:
        """Take one; False when there are none left."""
        self._left = min(_AT_ONCE, self._left + (now - self._at) * _PER_SECOND) - 1
        self._at = now
        return self._left >= 0
