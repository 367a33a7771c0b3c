"""Whether a replica may be given runs: one that keeps failing is left alone for a while, then tried with one. No I/O.

good ──FAILURES in a row──> ejected ──its time is over──> on trial (one run) ──it goes well──> good
                               ^──────────────twice the time────────────it fails──┘
A process that comes back the first time is good at once: the runs that it took with it say nothing of its successor.
"""

from __future__ import annotations

from answermesh.errors import Failure, Reason

# Failures in a row that eject: one may be the query's fault, three in a row of different queries hardly.
FAILURES = 3
# How long the first time, and at most; a restarted process is there again within about two seconds.
FIRST_S, LONGEST_S = 1.0, 30.0
# Failures that say something of the replica; all others are the query's, the agent's or the caller's.
_ITS_OWN = frozenset({Reason.SERVICE_UNAVAILABLE, Reason.INTERNAL, Reason.DEADLINE_EXCEEDED})


class Standing:
    """What is held against one replica."""

    def __init__(self) -> None:
        self._failures = 0
        self._ejections = 0
        self._until_s = 0.0
        self._on_trial = False

    def may_run(self, now_s: float) -> bool:
        """Whether a run may be given to it now; one on trial has its one run."""
        return self._failures < FAILURES or (now_s >= self._until_s and not self._on_trial)

    def begun(self) -> None:
        """It was given a run."""
        self._on_trial = self._failures >= FAILURES

    def over(self, failure: Failure | None, now_s: float) -> None:
        """A run there ended by itself."""
        was_trial, self._on_trial = self._on_trial, False
        if failure is None or failure.reason not in _ITS_OWN:
            self._failures = self._ejections = 0
            return
        self._failures += 1
        # Of runs that a process takes with it, those beyond the ones that ejected it say nothing new.
        if self._failures == FAILURES or was_trial:
            self._until_s = now_s + min(FIRST_S * 2**self._ejections, LONGEST_S)
            # The exponent is bounded too: 2**n outgrows a float in the end.
            self._ejections = min(self._ejections + 1, 16)

    def came_back(self) -> None:
        """It had gone, and is there again; one that goes again and again has to pass its trial."""
        if self._ejections <= 1:
            self._failures = 0

    def cancelled(self) -> None:
        """A run there was cancelled, which says nothing of it."""
        self._on_trial = False
