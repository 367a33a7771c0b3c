"""The growing answer, and text made safe for a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from answermesh.cli.answer_view import tail_of, text_of
from answermesh.cli.printable import one_line, printable
from answermesh.cli.reading import Reading
from answermesh.typed.answermesh import v1


def event(**finding: object) -> v1.QueryEvent:
    return v1.QueryEvent(query="queries/q", finding=v1.Finding(**finding))


def delta(text: str, offset: int) -> v1.QueryEvent:
    return event(text_delta=v1.TextDelta(text, offset))


def sentence(index: int, start: int, end: int) -> v1.QueryEvent:
    return event(sentence=v1.Sentence(index=index, span=v1.Span(start, end)))


def cite(index: int, document: str) -> v1.QueryEvent:
    return event(citation=v1.Citation(sentence_index=index, document=document, span=v1.Span(0, 9)))


def reading_of(*events: v1.QueryEvent) -> Reading:
    reading = Reading()
    for one in events:
        reading.add(one)
    return reading


def test_text_grows_and_marks_appear_where_they_belong() -> None:
    grown = [delta("One. Tw", 0), sentence(0, 0, 4)]
    assert text_of(reading_of(*grown)).plain == "One. … Tw"
    grown += [cite(0, "documents/a"), delta("o.", 7), sentence(1, 5, 9)]
    assert text_of(reading_of(*grown)).plain == "One. [1] … Two. …"
    supported = v1.VerdictValue.VALUE_SUPPORTED
    grown.append(event(verdict=v1.Verdict(sentence_index=0, value=supported)))
    assert text_of(reading_of(*grown)).plain == "One. [1] ✓ Two. …"


def test_a_source_has_one_number_however_often_it_is_cited() -> None:
    reading = reading_of(
        delta("A. B.", 0),
        sentence(0, 0, 2),
        sentence(1, 3, 5),
        cite(1, "documents/b"),
        cite(0, "documents/a"),
        cite(1, "documents/a"),
    )
    assert [source.document for source in reading.sources()] == ["documents/a", "documents/b"]
    assert text_of(reading).plain == "A. [1] … B. [1][2] …"


def test_a_delta_that_comes_twice_changes_nothing() -> None:
    assert reading_of(delta("ab", 0), delta("cd", 2), delta("cd", 2)).text == "abcd"


def test_a_sentence_told_before_its_text_is_marked_once_the_text_is_there() -> None:
    reading = reading_of(delta("On", 0), sentence(0, 0, 4))
    assert text_of(reading).plain == "On"
    reading.add(delta("e.", 2))
    assert text_of(reading).plain == "One. …"


def test_a_sentence_nobody_checked_says_so_at_the_end() -> None:
    answer = v1.Answer(text="One.", sentences=[v1.AnswerSentence(span=v1.Span(0, 4))])
    ended = v1.QueryEvent(query_ended=v1.Query(name="queries/q", answer=answer))
    assert text_of(reading_of(v1.QueryEvent().parse(bytes(ended)))).plain == "One. –"


def test_only_the_end_of_a_long_text_is_shown_while_it_grows() -> None:
    console = Console(width=20, height=6, force_terminal=True)
    with console.capture() as captured:
        console.print(tail_of(reading_of(delta("\n".join(map(str, range(50))), 0)), console))
    assert captured.get().split() == ["46", "47", "48", "49"]


@given(st.text())
def test_nothing_printable_moves_a_cursor(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in shown)


@pytest.mark.parametrize(
    ("text", "shown"), [("a\x1b[2J", "a␛[2J"), ("\x9bm", "�m"), ("\u202eabc", "�abc"), ("é ✓", "é ✓")]
)
def test_control_characters_are_shown_as_signs(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_one_line_is_one_line_and_no_longer_than_asked() -> None:
    assert one_line("a\n b\t\tc") == "a b c"
    assert one_line("abcdef", 4) == "abc…"
