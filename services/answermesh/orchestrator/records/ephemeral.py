"""The events of a query that is not stored: kept until its one reader has them, bounded by holding the agents back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

from answermesh.errors import Failure
from answermesh.orchestrator.records.events import heartbeat, number
from answermesh.v1.query_pb2 import Query, QueryEvent

# Events that may wait for the reader before the agents are held back: some hundred kB.
MAX_UNREAD = 1024
# How long a reader that takes events together waits for more of them.
MOMENT_S = 0.002
# Quiet time after which the reader is told that the query lives, as by watching.
HEARTBEAT_S = 1.0


class MemoryLog:
    """The log of one query, and its reader's side; the first event says that the query was accepted."""

    def __init__(self, record: Query) -> None:
        self.record = record
        self.failure: Failure | None = None
        self._sequence = 0
        self._unread: list[QueryEvent] = []
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        # Set by what a reader must hear of at once.
        self._ended = asyncio.Event()
        self.append(QueryEvent(state_changed=QueryEvent.StateChanged(state=record.state)))

    @property
    def is_full(self) -> bool:
        return len(self._unread) > MAX_UNREAD

    async def room(self) -> None:
        while self.is_full and self.failure is None:
            self._taken.clear()
            await self._taken.wait()
        if self.failure:
            raise self.failure

    def append(self, *events: QueryEvent) -> None:
        self._sequence = number(self.record, self._sequence, events)
        self._unread.extend(events)
        self._arrived.set()
        if self.is_full or any(event.HasField("query_ended") for event in events):
            self._ended.set()

    async def flush(self) -> None:
        if self.failure:
            raise self.failure

    def fail(self, failure: Failure) -> None:
        self.failure = self.failure or failure
        self._arrived.set()
        self._ended.set()
        self._taken.set()

    async def watch(self, frame_s: float = 0.0) -> AsyncGenerator[Sequence[QueryEvent], None]:
        """All events, as they come, those of one moment together; with a heartbeat in quiet times. For one reader.

        What comes within `frame_s` of the events before is given together as well; the first event and the last never
        wait. Raises the failure that ended the log before its last event.
        """
        loop = asyncio.get_running_loop()
        sequence, next_s = 0, 0.0
        while True:
            if self._unread:
                # Agents that work side by side are often done together: a moment saves messages.
                if (left_s := max(MOMENT_S if sequence else 0.0, next_s - loop.time())) > 0 and frame_s:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(left_s):
                            await self._ended.wait()
                events, self._unread = self._unread, []
                self._taken.set()
                sequence = events[-1].sequence
                next_s = loop.time() + frame_s
                yield events
                if events[-1].HasField("query_ended"):
                    return
                continue
            if self.failure:
                raise self.failure
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._arrived.wait()
                    continue
            yield [heartbeat(self.record.name, sequence)]
