"""The checker: what in a history breaks a promise. No I/O.

LOST        a query that was acknowledged is not stored
UNFINISHED  a query has no final state
GAP         a query's events are not numbered 1, 2, 3 …
ENDS        a query has no last event, two of them, or events after it
STATE       a query's record says otherwise than its last event
REPEATED    an agent was started after it had ended
TEXT        the text told is not what the question is to be answered with, or the answer is another text than was told
ORDER       a reader missed an event, or saw one twice or out of order
CHANGED     a reader saw an event otherwise than it is stored, or one that is not stored
FOREIGN     a reader was given an event of another query
STRANDED    a reader that wanted to was not brought to the end
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from answermesh.v1.query_pb2 import Query, QueryEvent
from bench.chaos.history import History, Reading, Stored

FINAL = {Query.STATE_SUCCEEDED, Query.STATE_PARTIAL, Query.STATE_FAILED, Query.STATE_CANCELLED}


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept."""

    kind: str
    query: str
    what: str


def violations(history: History, text_of: Callable[[str], str]) -> list[Violation]:
    """All broken promises; `text_of` is what each question is to be answered with."""
    return [
        *(one for query, question in history.asked.items() for one in _of_query(history, query, text_of(question))),
        *(one for reading in history.readings for one in _of_reading(history, reading)),
    ]


def _of_query(history: History, query: str, text: str) -> Iterator[Violation]:
    if (stored := history.stored.get(query)) is None:
        yield Violation("LOST", query, "was acknowledged, and is not stored")
        return
    events = stored.events
    if stored.record.state not in FINAL:
        yield Violation("UNFINISHED", query, f"is {Query.State.Name(stored.record.state)}")
    if (numbers := [event.sequence for event in events]) != list(range(1, len(events) + 1)):
        yield Violation("GAP", query, f"has events {numbers}")
    ends = [number for number, event in enumerate(events, 1) if event.HasField("query_ended")]
    if ends != [len(events)] and stored.record.state in FINAL:
        yield Violation("ENDS", query, f"ended at {ends} of {len(events)}")
    if ends and events[ends[0] - 1].query_ended.state != stored.record.state:
        yield Violation("STATE", query, f"is {stored.record.state}, its last event says otherwise")
    yield from _repeated(query, events)
    yield from _text(query, stored, text)


def _repeated(query: str, events: Sequence[QueryEvent]) -> Iterator[Violation]:
    over: set[str] = set()
    for event in events:
        if event.HasField("agent_ended"):
            if event.agent_ended.agent in over:
                yield Violation("REPEATED", query, f"{event.agent_ended.agent} ended twice, at {event.sequence}")
            over.add(event.agent_ended.agent)
        elif event.HasField("agent_started") and event.agent_started.agent in over:
            yield Violation("REPEATED", query, f"{event.agent_started.agent} ran again at {event.sequence}")


def _text(query: str, stored: Stored, text: str) -> Iterator[Violation]:
    told = ""
    for event in stored.events:
        if event.finding.HasField("text_delta"):
            if event.finding.text_delta.offset != len(told):
                yield Violation(
                    "TEXT", query, f"text at {event.finding.text_delta.offset} follows {len(told)} characters"
                )
            told += event.finding.text_delta.text
    if not text.startswith(told):
        yield Violation("TEXT", query, f"tells {told[:200]!r}")
    if stored.record.state in FINAL and stored.record.answer.text != told:
        yield Violation("TEXT", query, f"was told {told[:200]!r}, and answered {stored.record.answer.text[:200]!r}")
    if stored.record.state == Query.STATE_SUCCEEDED and told != text:
        yield Violation("TEXT", query, f"succeeded after {len(told)} of {len(text)} characters")


def _unlike(seen: QueryEvent, stored: QueryEvent | None) -> str:
    """Where two events differ, line by line of their text."""
    if stored is None:
        return "it is not stored"
    pairs = zip(str(seen).splitlines(), str(stored).splitlines(), strict=False)
    return "; ".join(f"{one.strip()} for {other.strip()}" for one, other in pairs if one != other)[:500]


def _of_reading(history: History, reading: Reading) -> Iterator[Violation]:
    numbers = [event.sequence for event in reading.events]
    if numbers != list(range(1, len(numbers) + 1)):
        yield Violation("ORDER", reading.query, f"{reading.reader} saw {numbers}")
    if foreign := [event.query for event in reading.events if event.query != reading.query]:
        yield Violation("FOREIGN", reading.query, f"{reading.reader} saw events of {foreign[0]}")
    stored = history.stored[reading.query].events if reading.query in history.stored else ()
    by_number = {event.sequence: event for event in stored}
    for event in reading.events:
        if (there := by_number.get(event.sequence)) != event:
            yield Violation("CHANGED", reading.query, f"{reading.reader} saw {event.sequence}: {_unlike(event, there)}")
            break
    ended = bool(reading.events) and reading.events[-1].HasField("query_ended")
    if not ended and not reading.left:
        yield Violation(
            "STRANDED", reading.query, f"{reading.reader} at {len(numbers)}: {reading.error or 'ended early'}"
        )
