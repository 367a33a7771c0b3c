"""What everybody saw: the questions that were acknowledged, what each reader read, and what was stored in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from answermesh.v1.query_pb2 import Query, QueryEvent


@dataclass(slots=True)
class Reading:
    """What one reader saw of one query, in the order it came; a reader that came back goes on in the same reading."""

    reader: str
    query: str
    events: list[QueryEvent] = field(default_factory=list)
    # How the reader ended: whole, by its own will, or with the error that it was left with.
    left: bool = False
    error: str = ""
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Stored:
    """A query as the database holds it when all is over."""

    record: Query
    events: Sequence[QueryEvent]


@dataclass(frozen=True, slots=True)
class History:
    """All of it."""

    # Question by query, for each that the mesh acknowledged.
    asked: Mapping[str, str]
    readings: Sequence[Reading]
    stored: Mapping[str, Stored]
