"""What an agent has said and nobody has sent yet: in order, bounded, and text in frames instead of single tokens.

The first text goes out at once; what follows within a frame's time goes out as one delta, with whatever else was said
by then. Nothing that is not text waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from answermesh.v1.finding_pb2 import Finding, TextDelta

# Findings that wait to be sent; beyond that the agent waits, and so its peer holds it.
QUEUE_LIMIT = 128
# Text is sent this often at most: 30 times a second reads as smooth, and a model's 60 tokens a second halve.
FRAME_S = 0.03
# A delta that grew to this is left alone, so that the bound on findings bounds the text too.
_MAX_DELTA_CHARS = 4096


class Outgoing:
    """One run's findings on their way out. One event loop."""

    def __init__(self, due: Callable[[], None]) -> None:
        """`due` is called when there is something to take now."""
        self._due = due
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Finding] = deque()
        self._room: asyncio.Event | None = None
        self._frame_s = float("-inf")
        self._frame: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def put(self, finding: Finding) -> None:
        """Add a finding; waits while too many wait."""
        while len(self._waiting) >= QUEUE_LIMIT:
            self._room = self._room or asyncio.Event()
            await self._room.wait()
        if not finding.HasField("text_delta"):
            self._waiting.append(finding)
            self._due()
            return
        alone = not self._waiting
        if (joined := self._joined(finding.text_delta)) is not None:
            self._waiting[-1] = joined
        else:
            self._waiting.append(finding)
        if alone and (next_s := self._frame_s + FRAME_S) > self._loop.time():
            self._frame = self._loop.call_at(next_s, self._end_frame)
        elif self._frame is None:
            self._due()

    def take(self, limit: int) -> list[Finding]:
        """The first findings, at most so many."""
        waiting = self._waiting
        taken = [waiting.popleft() for _ in range(min(len(waiting), limit))]
        if any(finding.HasField("text_delta") for finding in taken):
            self._frame_s = self._loop.time()
        if self._frame is not None and not waiting:
            self._end_wait()
        if self._room is not None:
            self._room.set()
            self._room = None
        return taken

    def close(self) -> None:
        """Nothing more is said: what waits is due."""
        self._end_wait()
        self._due()

    def _joined(self, delta: TextDelta) -> Finding | None:
        """The last waiting finding with this text behind it, where both are one text."""
        if not self._waiting or not (last := self._waiting[-1]).HasField("text_delta"):
            return None
        before = last.text_delta
        if len(before.text) >= _MAX_DELTA_CHARS or before.offset + len(before.text) != delta.offset:
            return None
        # Not in place: the finding is the agent's.
        return Finding(id=last.id, text_delta=TextDelta(text=before.text + delta.text, offset=before.offset))

    def _end_frame(self) -> None:
        self._frame = None
        self._due()

    def _end_wait(self) -> None:
        if self._frame is not None:
            self._frame.cancel()
            self._frame = None
