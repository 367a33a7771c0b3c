"""Where questions wait that there is no room for, while nobody knows yet how much room there is. No I/O.

Before the mesh was busy for the first time, admission lets in what any mesh can carry. A first burst of more is not too
much for most: refusing it at once would refuse what could be answered in a moment. So those who can afford it wait
until there is a measure or room, for a small part of their time; once there is a measure, nobody waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from answermesh.orchestrator.admission import Admission

# As many may wait; more would not all be let in within the time that they have for it.
MOST_WAITING = 512


@dataclass(eq=False, slots=True)
class Caller:
    """One who asks: whose question it is, how much it matters, how long it has, and what hears that it may come in."""

    tenant: str
    priority: int
    allowed_s: float
    called: Callable[[], None]
    is_in: bool = False


class Lobby:
    """Lets callers in as there is room: who matters more comes first, then who was there first."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._waiting: list[Caller] = []

    def enter(self, caller: Caller, now_s: float) -> float:
        """How long the caller should wait to be called: 0 where it is in already, or where it is refused."""
        overtakes = any(one.priority <= caller.priority for one in self._waiting)
        if not overtakes and self._has_room(caller, now_s):
            self._let_in(caller, now_s)
            return 0.0
        wait_s = self._admission.wait_s(caller.allowed_s)
        if not wait_s or len(self._waiting) == MOST_WAITING:
            return 0.0
        self._waiting.append(caller)
        return wait_s

    def call(self, now_s: float) -> None:
        """Let in those for whom there is room now."""
        if not self._waiting:
            return
        full: set[tuple[str, int]] = set()
        for caller in sorted(self._waiting, key=lambda one: one.priority):
            # Where there is no room for one, there is none for those behind it that are of its kind.
            kind = (caller.tenant, caller.priority)
            if kind not in full and self._has_room(caller, now_s):
                self._let_in(caller, now_s)
            else:
                full.add(kind)
        self._waiting = [caller for caller in self._waiting if not caller.is_in]

    def leave(self, caller: Caller, now_s: float) -> None:
        """The caller asks no more: it has waited enough, or hung up, perhaps after it was let in."""
        if caller.is_in:
            self._admission.over(caller.tenant, None, now_s)
            self.call(now_s)
        elif caller in self._waiting:
            self._waiting.remove(caller)

    def _has_room(self, caller: Caller, now_s: float) -> bool:
        return self._admission.room(caller.tenant, caller.priority, caller.allowed_s, now_s) > 0

    def _let_in(self, caller: Caller, now_s: float) -> None:
        self._admission.begun(caller.tenant, caller.allowed_s, now_s)
        caller.is_in = True
        caller.called()
