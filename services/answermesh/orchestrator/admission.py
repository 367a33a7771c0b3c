"""How many queries are answered at once, and whose. No I/O.

By Little's law, what is admitted is finished in (how many there are) / (the rate at which they are finished). So as
many are admitted as will be finished well within the time that they have, at the rate that was measured when the mesh
was last busy; a rate measured at ease says nothing, since more was not asked for. The measure follows the agents: when
they get slower, fewer are admitted at once, and more again when they have recovered.

Of that, batch queries may take half and interactive ones four fifths, so that there is always something left for those
that matter more; and a tenant gets no more than its part while others are there.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from statistics import median

from answermesh.v1.query_pb2 import Query

# At once, as long as nothing is known, and in any case. The first is about what two processors can carry with agents
# that compute; the least keeps the measure alive.
FIRST, LEAST, MOST = 96, 8, 1024
# Share of a query's time that it may wait for a measure, and the longest: the first span of a busy mesh has ended then.
WAIT = 0.1
# Share of a query's time by which those before it should be done; the rest is for what does not come evenly.
PATIENCE, MOST_PATIENCE = 0.5, 0.9
# A query that takes long by itself is not late for that: it may take so many times what the quickest lately took.
SLACK = 1.5
SHARES: Mapping[int, float] = {
    Query.PRIORITY_CRITICAL: 1.0,
    Query.PRIORITY_INTERACTIVE: 0.8,
    Query.PRIORITY_BATCH: 0.5,
}
# The rate is measured over spans of this and of some ends at least, each weighing so much against those before it.
SPAN_S, LONGEST_SPAN_S, _ENOUGH, WEIGHT = 0.5, 3.0, 5, 0.3
# Share of the limit that is used by a busy mesh; less than batch queries alone may use.
BUSY = 0.4
# Queries that take so many times what the quickest lately took, and a quarter of their time, wait for each other.
SLOWER = 2.0
# After this without a busy span, what was measured is forgotten.
FORGOTTEN_S = 60.0
# Recent queries whose median is taken, and of how many spans the least median counts as unhurried.
_RECENT, _SPANS = 50, 240
_SOONEST_S, _LATEST_S = 0.1, 10.0


class Admission:
    """Counts what is being answered. Times are of any clock that goes forward."""

    def __init__(self, now_s: float) -> None:
        self._running: Counter[str] = Counter()
        self._total = 0
        # Queries finished per second when busy; None while nothing is known.
        self._rate: float | None = None
        self._busy_at_s = now_s
        self._span_from_s = now_s
        self._finished = self._late = 0
        # How many there were, summed over the span's time, and when it began.
        self._area = 0.0
        self._at_first = 0
        self._counted_s = now_s
        # What the newest query was given, in seconds.
        self._allowed_s = 30.0
        self._recent_s: deque[float] = deque(maxlen=_RECENT)
        self._medians_s: deque[float] = deque(maxlen=_SPANS)

    def limit(self, allowed_s: float) -> int:
        """How many may be answered at once so that one with `allowed_s` seconds is in time."""
        unhurried_s = min(self._medians_s, default=0.0)
        if self._rate is None:
            # What takes long is mostly work, so fewer fill the mesh.
            return max(2 * LEAST, min(FIRST, int(FIRST / max(unhurried_s / 2, 1.0))))
        wait_s = min(MOST_PATIENCE * allowed_s, max(PATIENCE * allowed_s, SLACK * unhurried_s))
        return max(LEAST, min(MOST, int(self._rate * wait_s)))

    def room(self, tenant: str, priority: int, allowed_s: float, now_s: float) -> int:
        """How many more such queries may begin; 0 or less means none."""
        self._pass_time(now_s)
        share = int(self.limit(allowed_s) * SHARES.get(priority, SHARES[Query.PRIORITY_INTERACTIVE]))
        others = sum(1 for other, count in self._running.items() if count and other != tenant)
        part = share // (others + 1) if others else share
        return min(share - self._total, part - self._running[tenant])

    def wait_s(self, allowed_s: float) -> float:
        """How long a query may wait for room: 0 where it is known how much there is, and waiting would not help."""
        return 0.0 if self._rate is not None else min(WAIT * allowed_s, LONGEST_SPAN_S)

    def begun(self, tenant: str, allowed_s: float, now_s: float) -> None:
        """A query begins."""
        self._pass_time(now_s)
        self._allowed_s = allowed_s
        self._running[tenant] += 1
        self._total += 1

    def over(self, tenant: str, took_s: float | None, now_s: float, *, late: bool = False) -> None:
        """A query ended, or was cut off at its deadline.

        `took_s` is None where it was cancelled, which says nothing of what the mesh can do.
        """
        self._pass_time(now_s)
        self._running[tenant] -= 1
        self._total -= 1
        if not self._running[tenant]:
            del self._running[tenant]
        if took_s is not None:
            self._finished += not late
            self._late += late
            self._recent_s.append(took_s)

    def retry_after_s(self) -> float:
        """When one that was refused should try again: when about as many have ended as are before it."""
        if not self._recent_s:
            return 1.0
        return min(_LATEST_S, max(_SOONEST_S, median(self._recent_s)))

    def _pass_time(self, now_s: float) -> None:
        """Count the time, and end the span when it is long enough to be judged."""
        self._area += self._total * (now_s - self._counted_s)
        self._counted_s = now_s
        took_s = now_s - self._span_from_s
        if took_s < SPAN_S or (self._finished + self._late < _ENOUGH and took_s < LONGEST_SPAN_S):
            return
        if self._recent_s:
            self._medians_s.append(median(self._recent_s))
        if self._is_busy(self._area / took_s) and (self._finished or self._late or self._rate is not None):
            rate = self._finished / took_s
            self._rate = rate if self._rate is None else (1 - WEIGHT) * self._rate + WEIGHT * rate
            self._busy_at_s = now_s
        elif now_s - self._busy_at_s > FORGOTTEN_S:
            self._rate = None
        self._span_from_s, self._area, self._at_first = now_s, 0.0, self._total
        self._finished = self._late = 0

    def _is_busy(self, mean: float) -> bool:
        """Whether a span with so many on average shows what the mesh can do at most.

        Much of the limit was used all the time (a burst at its end says nothing, nor one that has only begun: its first
        answers take a while), or queries took long.
        """
        if min(mean, self._at_first) >= BUSY * self.limit(self._allowed_s):
            return True
        usual_s = max(SLOWER * min(self._medians_s, default=0.0), self._allowed_s / 4)
        return bool(self._recent_s) and self._medians_s[-1] > usual_s
