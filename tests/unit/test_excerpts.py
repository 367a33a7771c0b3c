"""What the cross-encoder reads of a passage."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from answermesh.knowledge.excerpts import EXCERPT_CHARS, excerpt

FILLER = "The committee met on several occasions and talked about nothing that matters here. " * 5
ANSWER = "The observatory was founded by a merchant. He gave it his whole fortune."


def test_a_short_passage_is_read_whole() -> None:
    assert excerpt("Who founded the observatory?", ANSWER) == ANSWER


def test_of_a_long_passage_the_sentences_that_the_query_is_about_are_read() -> None:
    read = excerpt("Who was the founder of the observatories?", f"{FILLER}{ANSWER} {FILLER}")

    assert "The observatory was founded by a merchant." in read
    assert len(read) <= EXCERPT_CHARS


def test_a_sentence_longer_than_an_excerpt_stays_whole() -> None:
    long = f"A list of observatories {'and another one ' * 40}ends."
    assert excerpt("Which observatories are there?", f"{FILLER}{long}") == long


@given(st.text(max_size=20), st.text(max_size=900))
def test_an_excerpt_is_a_part_of_the_text_and_empty_only_where_that_is(query: str, text: str) -> None:
    read = excerpt(query, text)
    assert read in text
    assert bool(read) == bool(text)
