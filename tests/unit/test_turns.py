"""Conversations: who speaks, and where a turn ends."""

from __future__ import annotations

from answermesh.agents.authoring.extractive import in_context
from answermesh.agents.language.turns import turn_at, turns
from answermesh.agents.sources import Sources
from tests.fake_run import passage

CHAT = "Ana: The show starts at nine 🎉\nBen Lo: See you there. I bring the tickets 😄\nAna: Great"


def test_a_sentence_ends_where_another_speaks() -> None:
    sources = Sources()
    sources.add(passage(CHAT))
    assert [one.text for one in sources.sentences()] == [
        "Ana: The show starts at nine 🎉",
        "Ben Lo: See you there.",
        "I bring the tickets 😄",
        "Ana: Great",
    ]


def test_a_sentence_is_read_within_its_turn() -> None:
    sources = Sources()
    sources.add(passage(CHAT))
    assert in_context(sources.sentences()[2]) == "a: Ben Lo: See you there. I bring the tickets 😄"


def test_the_fields_of_a_form_are_no_conversation() -> None:
    assert turns("Name: Ana Lo\nCity: Lyon in France\nAge: thirty") == ()
    assert turn_at("Name: Ana Lo\nCity: Lyon in France\nAge: thirty", 3) is None
    assert [turn.speaker for turn in turns(CHAT)] == ["Ana", "Ben Lo", "Ana"]
