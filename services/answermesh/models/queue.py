"""What runs next: texts of all callers wait in lanes, and are taken one by one. No I/O, no clock.

Lanes go in the order QUERY, SCORE, READ, DOCUMENT, so that nobody who waits for an answer waits for an import longer
than the texts that are running. So that an import goes on under any load, an eighth of the tokens is the lowest waiting
lane's.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from answermesh.errors import Failure, Reason

# What the lowest lane is owed for a token of another one: an eighth of all tokens is its.
_OWED = 1 / 7
# Speed assumed until one was measured, and the weight of a new measurement.
_TOKENS_PER_S = 5000.0
_NEW_WEIGHT = 0.2


class Lane(enum.IntEnum):
    """Whose turn it is first: the lower number."""

    QUERY = 0
    SCORE = 1
    READ = 2
    DOCUMENT = 3


# Texts that may wait in a lane: some seconds of work for those who wait for an answer, half a minute for imports.
MAX_WAITING = {Lane.QUERY: 512, Lane.SCORE: 1024, Lane.READ: 512, Lane.DOCUMENT: 2048}


@dataclass(slots=True, eq=False)
class Job:
    """The texts of one call, by their lengths in tokens."""

    lane: Lane
    lengths: Sequence[int]


@dataclass(frozen=True, slots=True)
class Item:
    """One text of a job."""

    job: Job
    index: int

    @property
    def length(self) -> int:
        """Tokens."""
        return self.job.lengths[self.index]


@dataclass(slots=True)
class Queue:
    """The waiting texts."""

    _lanes: dict[Lane, deque[Item]] = field(default_factory=lambda: {lane: deque() for lane in Lane})
    # Tokens that the lowest waiting lane is owed.
    _owed: float = 0.0
    _tokens_per_s: float = _TOKENS_PER_S

    def __len__(self) -> int:
        return sum(len(items) for items in self._lanes.values())

    def admit(self, job: Job) -> None:
        """Let all texts of a job wait.

        Raises Failure(OVERLOADED), with the time after which there should be room, if the lane cannot hold them.
        """
        items = self._lanes[job.lane]
        limit = MAX_WAITING[job.lane]
        if len(items) + len(job.lengths) > limit:
            raise Failure(
                Reason.OVERLOADED,
                f"{len(items)} texts of this kind wait for the models, and {len(job.lengths)} more exceed the "
                f"limit of {limit}; try again later, or send fewer at once.",
                retry_after_s=self._time_s(items),
            )
        items.extend(Item(job, index) for index in range(len(job.lengths)))

    def drop(self, job: Job) -> None:
        """Forget what still waits of a job."""
        self._lanes[job.lane] = deque(item for item in self._lanes[job.lane] if item.job is not job)

    def take(self) -> Item | None:
        """The next text; None if nothing waits."""
        waiting = [items for items in self._lanes.values() if items]
        if not waiting:
            return None
        lowest = waiting[-1]
        items = lowest if self._owed >= lowest[0].length else waiting[0]
        item = items.popleft()
        self._owed = max(self._owed - item.length, 0.0) if items is lowest else self._owed + _OWED * item.length
        return item

    def ran(self, tokens: int, time_s: float) -> None:
        """Learn from a text how fast the models are, all threads together."""
        if time_s > 0:
            self._tokens_per_s += _NEW_WEIGHT * (tokens / time_s - self._tokens_per_s)

    def _time_s(self, items: deque[Item]) -> float:
        return max(1.0, math.ceil(sum(item.length for item in items) / self._tokens_per_s))
