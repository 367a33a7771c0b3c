"""Where sentences stand."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answermesh.knowledge.sentences import MAX_SENTENCE_CHARS, split

# What may stand between two sentences: white space and the markers of blocks.
_BETWEEN = re.compile(r"(?:\s|>|[-*+•]|\d{1,9}[.)]|#{1,6})*")
_PIECES = st.sampled_from(
    [
        "One. ",
        "Two! ",
        "e.g. ",
        "\n",
        "\n\n",
        "- ",
        "1. ",
        "# ",
        "> ",
        "```\n",
        "| a |\n",
        "`x. y` ",
        "word ",
        '"Why?" ',
        "。",
        "...",
        "\t",
        "é",
    ]
)
TEXTS = st.one_of(st.text(max_size=300), st.lists(_PIECES, max_size=60).map("".join))


def sentences(text: str) -> list[str]:
    return [text[one.start : one.end] for one in split(text)]


@given(TEXTS)
def test_no_character_is_lost_but_white_space_and_markers(text: str) -> None:
    position = 0
    for one in split(text):
        assert position <= one.start < one.end
        assert _BETWEEN.fullmatch(text[position : one.start]), text[position : one.start]
        assert not text[one.start].isspace()
        assert not text[one.end - 1].isspace()
        assert one.end - one.start <= MAX_SENTENCE_CHARS
        position = one.end
    assert _BETWEEN.fullmatch(text[position:])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("etcd is a store. etcd uses Raft.", ["etcd is a store.", "etcd uses Raft."]),
        ("It needs memory, e.g. 8 GB. More helps.", ["It needs memory, e.g. 8 GB.", "More helps."]),
        ("Dr. J. Smith left. He ran 2.5 km.", ["Dr. J. Smith left.", "He ran 2.5 km."]),
        ('"Really?" she asked. No!', ['"Really?" she asked.', "No!"]),
        ("Use `a. b` here. Done.", ["Use `a. b` here.", "Done."]),
        ("One line\nwraps here. Next.", ["One line\nwraps here.", "Next."]),
        ("- First.\n- Second one\n\n2. Third", ["First.", "Second one", "Third"]),
        (
            "Reads, writes, etc. The rest. In Section no. 5 too.",
            ["Reads, writes, etc.", "The rest.", "In Section no. 5 too."],
        ),
        ("这是。那是！", ["这是。", "那是！"]),
    ],
)
def test_sentences_end_where_a_reader_sees_them_end(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_headings_tables_and_code_are_not_prose() -> None:
    text = "# Head\nText here.\n\n| a | b |\n\n```\nx. y\n\nz\n```\nEnd."
    assert [(text[one.start : one.end], one.prose) for one in split(text)] == [
        ("Head", False),
        ("Text here.", True),
        ("| a | b |", False),
        ("```\nx. y\n\nz\n```", False),
        ("End.", True),
    ]


def test_front_matter_is_one_piece_that_is_not_prose() -> None:
    first, second = split("---\ntitle: A. B\n---\nText.\n")
    assert (first.prose, second.prose) == (False, True)
