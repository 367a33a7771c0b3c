"""The log of a query's events as its run sees it, and what all logs do with an event. No I/O."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from answermesh.errors import Failure
from answermesh.v1.query_pb2 import Query, QueryEvent


class EventLog(Protocol):
    """Where a run writes what happens; readers see it in the same order, each event once."""

    @property
    def record(self) -> Query:
        """The query as its newest event left it."""

    @property
    def failure(self) -> Failure | None:
        """Why nothing more can be written, once that is so."""

    @property
    def is_full(self) -> bool:
        """Whether `room` would wait."""

    async def room(self) -> None:
        """Wait while too much is written that nobody could see yet. Raises the failure that ended the log, if any."""

    def append(self, *events: QueryEvent) -> None:
        """Number the events and write them. Who appends awaits `room` before.

        Appending is synchronous so that what follows from an event always stands behind it, whoever waits for what.
        """

    async def flush(self) -> None:
        """Wait until readers may see all that was written. Raises the failure that ended the log, if any."""

    def fail(self, failure: Failure) -> None:
        """Let nothing more be written."""


def number(record: Query, sequence: int, events: Iterable[QueryEvent]) -> int:
    """Make these the query's events after `sequence`, and the record what they leave; returns the last sequence."""
    # Not GetCurrentTime, which takes longer than all the rest. In microseconds: what clients hold a time in.
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    now = Timestamp(seconds=seconds, nanos=nanos // 1000 * 1000)
    for event in events:
        sequence += 1
        event.query = record.name
        event.sequence = sequence
        event.event_time.CopyFrom(now)
        if event.HasField("state_changed"):
            record.state = event.state_changed.state
            if record.state == Query.STATE_RUNNING:
                record.start_time.CopyFrom(now)
        elif event.HasField("query_ended"):
            event.query_ended.last_sequence = sequence
    return sequence


def heartbeat(query: str, sequence: int) -> QueryEvent:
    """What a reader is told in a quiet time; `sequence` is that of the event before."""
    event = QueryEvent(query=query, sequence=sequence, heartbeat=QueryEvent.Heartbeat())
    event.event_time.GetCurrentTime()
    return event
