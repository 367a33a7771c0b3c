"""The checker of the chaos suite finds every kind of broken promise, and finds none where all were kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from answermesh.v1.finding_pb2 import Finding, TextDelta
from answermesh.v1.query_pb2 import Answer, Query, QueryEvent
from bench.chaos.checker import violations
from bench.chaos.history import History, Reading, Stored

NAME, QUESTION = "queries/q", "well"
TEXT = "Well, well."


def events() -> list[QueryEvent]:
    """A query's events, as they should be."""
    final = Query(name=NAME, state=Query.STATE_SUCCEEDED, answer=Answer(text=TEXT))
    told = [
        QueryEvent(state_changed=QueryEvent.StateChanged(state=Query.STATE_RUNNING)),
        QueryEvent(agent_started=QueryEvent.AgentStarted(agent="author")),
        QueryEvent(finding=Finding(id="a", text_delta=TextDelta(text=TEXT[:6]))),
        QueryEvent(finding=Finding(id="b", text_delta=TextDelta(text=TEXT[6:], offset=6))),
        QueryEvent(agent_ended=QueryEvent.AgentEnded(agent="author")),
        QueryEvent(query_ended=final),
    ]
    for sequence, event in enumerate(told, 1):
        event.query, event.sequence = NAME, sequence
    return told


class Story:
    """A history that a test spoils."""

    def __init__(self) -> None:
        self.stored = events()
        self.record = Query()
        self.record.CopyFrom(self.stored[-1].query_ended)
        self.reading = Reading("reader", NAME, events())
        self.is_stored = True

    def kinds(self) -> list[str]:
        stored = {NAME: Stored(self.record, self.stored)} if self.is_stored else {}
        history = History({NAME: QUESTION}, [self.reading], stored)
        return [one.kind for one in violations(history, {QUESTION: TEXT}.__getitem__)]


def lose(story: Story) -> None:
    story.is_stored = False


def never_end(story: Story) -> None:
    story.record.state = Query.STATE_RUNNING


def leave_a_gap(story: Story) -> None:
    del story.stored[1]


def end_twice(story: Story) -> None:
    again = QueryEvent(query=NAME, sequence=7, query_ended=story.stored[-1].query_ended)
    story.stored.append(again)


def write_after_the_end(story: Story) -> None:
    story.stored.append(QueryEvent(query=NAME, sequence=7, agent_started=QueryEvent.AgentStarted(agent="judge")))


def contradict(story: Story) -> None:
    story.record.state = Query.STATE_PARTIAL


def run_again(story: Story) -> None:
    story.stored[3].agent_started.agent = "author"
    story.stored[2].agent_ended.agent = "author"


def end_an_agent_twice(story: Story) -> None:
    story.stored[1].agent_ended.agent = "author"


def mix_texts(story: Story) -> None:
    story.stored[3].finding.text_delta.text = "who?"


def leave_a_hole_in_the_text(story: Story) -> None:
    story.stored[3].finding.text_delta.offset = 7


def answer_otherwise(story: Story) -> None:
    story.record.answer.text = "Well."


def break_off(story: Story) -> None:
    del story.stored[3]
    for sequence, event in enumerate(story.stored, 1):
        event.sequence = sequence
    story.record.answer.text = TEXT[:6]


def miss_one(story: Story) -> None:
    del story.reading.events[2]


def see_one_twice(story: Story) -> None:
    story.reading.events.insert(2, story.reading.events[2])


def see_otherwise(story: Story) -> None:
    story.reading.events[2].finding.text_delta.text = "Unwell"


def see_what_is_not_stored(story: Story) -> None:
    story.reading.events[2].event_time.seconds = 1


def see_anothers(story: Story) -> None:
    story.reading.events[2].query = "queries/other"


def strand(story: Story) -> None:
    del story.reading.events[3:]


def test_a_history_without_a_fault_has_no_violations() -> None:
    assert Story().kinds() == []


def test_a_reader_that_left_is_not_stranded() -> None:
    story = Story()
    strand(story)
    story.reading.left = True
    assert story.kinds() == []


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lose, "LOST"),
        (never_end, "UNFINISHED"),
        (leave_a_gap, "GAP"),
        (end_twice, "ENDS"),
        (write_after_the_end, "ENDS"),
        (contradict, "STATE"),
        (run_again, "REPEATED"),
        (end_an_agent_twice, "REPEATED"),
        (mix_texts, "TEXT"),
        (leave_a_hole_in_the_text, "TEXT"),
        (answer_otherwise, "TEXT"),
        (break_off, "TEXT"),
        (miss_one, "ORDER"),
        (see_one_twice, "ORDER"),
        (see_otherwise, "CHANGED"),
        (see_what_is_not_stored, "CHANGED"),
        (see_anothers, "FOREIGN"),
        (strand, "STRANDED"),
    ],
)
def test_each_broken_promise_is_found(spoil: Callable[[Story], None], kind: str) -> None:
    story = Story()
    spoil(story)
    assert kind in story.kinds()
