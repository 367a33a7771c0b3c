"""Questions that lean on the one before."""

from __future__ import annotations

import pytest

from answermesh.orchestrator.conversation import resolved, topic_of

TOWER = "When was the Eiffel Tower built?"


@pytest.mark.parametrize(
    ("before", "question", "alone"),
    [
        (TOWER, "Who designed it?", "Who designed Eiffel Tower?"),
        (TOWER, "What is its height?", "What is Eiffel Tower's height?"),
        (TOWER, "What about the Louvre?", "When was the Louvre built?"),
        (TOWER, "And the Louvre?", "When was the Louvre built?"),
        (TOWER, "And why?", f"And why: {TOWER}"),
        ("What is a learner?", "Does it vote?", "Does learner vote?"),
        ("What are the Netherlands?", "Who rules them?", "Who rules Netherlands?"),
    ],
)
def test_a_question_that_leans_is_made_to_stand_alone(before: str, question: str, alone: str) -> None:
    assert resolved(question, before) == alone


@pytest.mark.parametrize(
    ("before", "question"),
    [
        ("", "Who designed it?"),
        (TOWER, "Who wrote Hamlet?"),
        (TOWER, "Did Napoleon say that he would return?"),
        (TOWER, "How many members does a cluster need to elect a leader?"),
        ("x" * 3999, "Who designed it?"),
    ],
)
def test_a_question_that_stands_alone_is_left_as_it_is(before: str, question: str) -> None:
    assert resolved(question, before) == question


def test_a_topic_is_the_last_thing_named_or_what_is_asked_about() -> None:
    assert topic_of("Where in Paris is the Eiffel Tower?") == "Eiffel Tower"
    assert topic_of("What is the default quota?") == "default quota"
    assert topic_of("Why?") == ""
