"""How long an agent lately took to its first finding: what is slower than nearly all is worth a second run. No I/O."""

from __future__ import annotations

from collections import deque

# Runs that are looked back on, and after how many the quantile is taken anew.
_RECENT, _EVERY = 200, 20
# A quantile of fewer is chance.
_LEAST = 20
# Below, a second run costs more than it wins.
_FLOOR_S = 0.02


class FirstWords:
    """The recent times of one agent."""

    def __init__(self) -> None:
        self._recent_s: deque[float] = deque(maxlen=_RECENT)
        self._count = 0
        # The 95th percentile; None while too little is known.
        self.p95_s: float | None = None

    def add(self, took_s: float) -> None:
        """Note a run's time to its first finding."""
        self._recent_s.append(took_s)
        self._count += 1
        if len(self._recent_s) >= _LEAST and self._count % _EVERY == 0:
            ordered = sorted(self._recent_s)
            self.p95_s = max(_FLOOR_S, ordered[int(len(ordered) * 0.95)])
