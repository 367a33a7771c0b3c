"""How long a reader comes back to events that broke off, and after which pauses. No I/O.

A query that the mesh has accepted comes to its end whichever process dies, so its reader comes back: as long as no two
minutes went by without a sign of life, nor two minutes since the deadline that it gave. A question that nobody has
accepted yet is given up sooner: its caller may not have to wait. Nothing is waited for where nobody was ever reached.
"""

from __future__ import annotations

# What an accepted query's reader bears without an event or a heartbeat: a mesh that lost its database, its
# orchestrators and its gateway one after another is back within seconds of the last; a machine restarts in less.
GRACE_S = 120.0
# What a question bears that nobody has accepted: one orchestrator alone is back within about five seconds of a crash.
ACCEPT_S = 15.0
# Pauses between attempts; the last for all that follow. So a mesh that is back is found within two seconds.
PAUSES_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
# The mesh sends a heartbeat every second; an orchestrator that is silent for longer hangs, and another goes on. To be
# wrong costs no more than coming back, after twice the time.
SILENCE_S, MOST_LONGER = 2.25, 4
# A question is accepted within milliseconds; one that was not is asked again, which costs more.
FIRST_S = 5.0


class Patience:
    """What one reader has seen, and bears. Times are of any clock that goes forward."""

    def __init__(self, now_s: float, *, accepted: bool, deadline_s: float | None = None) -> None:
        """`accepted`: the mesh knows the query. `deadline_s` is when it ends, where the reader has set that."""
        self.accepted = accepted
        self._heard_s = now_s
        self._ends_s = now_s if deadline_s is None else deadline_s
        self._failures = 0
        self._longer = 1

    @property
    def silence_s(self) -> float:
        """How long a stream may bring nothing."""
        return SILENCE_S * self._longer

    @property
    def first_s(self) -> float:
        """How long a stream's first response may take."""
        return (SILENCE_S if self.accepted else FIRST_S) * self._longer

    def heard(self, now_s: float) -> None:
        """An event or a heartbeat came, so the query is known."""
        self.accepted, self._heard_s = True, now_s
        self._failures, self._longer = 0, 1

    def broke(self, now_s: float, *, silent: bool) -> float | None:
        """The pause before the next attempt, None to give up. `silent`: the stream did not end, it brought nothing."""
        self._failures += 1
        if silent:
            self._longer = min(2 * self._longer, MOST_LONGER)
        until_s = max(self._heard_s, self._ends_s) + GRACE_S if self.accepted else self._heard_s + ACCEPT_S
        if now_s >= until_s:
            return None
        return PAUSES_S[min(self._failures, len(PAUSES_S)) - 1]
