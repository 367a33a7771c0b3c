"""How many runs may be made twice: a fifth of all, so that repeating never makes an overload worse. No I/O.

Envoy's retry budget and Finagle's have the same 20 %; as with Finagle's, some are free each second, so that a quiet
mesh repeats too.
"""

from __future__ import annotations

SHARE = 0.2
FREE_PER_S = 10.0
# Saved up at most: a replica that dies takes so many runs at once with it without any of them waiting.
MOST = 20.0


class Budget:
    """The budget of one agent. Times are of any clock that goes forward."""

    def __init__(self, now_s: float) -> None:
        self._left = MOST
        self._at_s = now_s

    def begun(self) -> None:
        """A run was made that is no repetition."""
        self._left = min(MOST, self._left + SHARE)

    def take(self, now_s: float) -> float:
        """Pay for one repetition, and return 0; where that is not to be had, seconds until it may be."""
        self._left = min(MOST, self._left + FREE_PER_S * (now_s - self._at_s))
        self._at_s = now_s
        if self._left < 1.0:
            return (1.0 - self._left) / FREE_PER_S
        self._left -= 1.0
        return 0.0
