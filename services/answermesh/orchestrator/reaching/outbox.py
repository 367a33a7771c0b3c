"""What waits to be sent to one agent: bounded, batched, and ended either whole or at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable

from answermesh.v1.finding_pb2 import Finding

# Findings that may wait for one agent before their producers are held back.
MAX_WAITING = 512
# Findings sent in one message at most; passages are a few kB each, the message limit is megabytes.
MAX_BATCH = 64


class Outbox:
    """A queue whose reader gets what waits in batches. One event loop, one reader."""

    def __init__(self, backlog: Iterable[Finding] = ()) -> None:
        self._waiting: deque[Finding] = deque(backlog)
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._finished = False

    def put(self, findings: Iterable[Finding]) -> None:
        """Add findings. Who puts must await `room` before the next put, or the queue has no bound."""
        if not self._finished:
            self._waiting.extend(findings)
            self._changed.set()

    @property
    def is_full(self) -> bool:
        """Whether more than MAX_WAITING findings wait, and the reader is there."""
        return len(self._waiting) > MAX_WAITING and not self._finished

    async def room(self) -> None:
        """Wait while it is full."""
        while self.is_full:
            self._room.clear()
            await self._room.wait()

    def finish(self) -> None:
        """Nothing more will be put: the reader ends after what still waits."""
        self._finished = True
        self._changed.set()
        self._room.set()

    def drop(self) -> None:
        """End at once: the reader ends, and what waits is dropped."""
        self._waiting.clear()
        self.finish()

    async def batches(self) -> AsyncIterator[list[Finding]]:
        """What waits, in order, as lists of at most MAX_BATCH; ends after `finish` or `drop`."""
        while True:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
                self._room.set()
                yield batch
            if self._finished:
                return
            self._changed.clear()
            await self._changed.wait()
