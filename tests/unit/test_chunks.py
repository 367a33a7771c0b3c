"""How texts are cut into passages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from answermesh.knowledge.blocks import Block, Kind
from answermesh.knowledge.chunks import MAX_CHARS, TARGET_CHARS, cut
from answermesh.knowledge.parsers import markdown, plain

_PIECES = st.sampled_from(
    [
        "Words go on. " * 8,
        "# Head\n\n",
        "## Sub\n\n",
        "- item\n",
        "\n\n",
        "```\ncode line\n" + "x = 1\n" * 30 + "```\n\n",
        "| a | b |\n|---|---|\n| 1 | 2 |\n",
        "x" * 2000,
        "word " * 500,
        "> quoted\n",
    ]
)
TEXTS = st.one_of(st.text(max_size=400), st.lists(_PIECES, max_size=20).map("".join))


def check(text: str, blocks: tuple[Block, ...]) -> None:
    position = 0
    for chunk in cut(text, blocks):
        assert not text[position : chunk.start].strip()
        assert position <= chunk.start < chunk.end <= chunk.start + MAX_CHARS
        assert text[chunk.start : chunk.end].strip() == text[chunk.start : chunk.end]
        position = chunk.end
    assert not text[position:].strip()


@given(TEXTS)
def test_passages_of_markdown_cover_all_text_in_order(text: str) -> None:
    parsed = markdown.parse(text.encode("utf-8", "replace"), "a.md")
    check(parsed.text, parsed.blocks)


@given(st.text(max_size=400), st.lists(st.tuples(st.integers(0, 400), st.sampled_from(Kind)), max_size=12))
def test_passages_cover_all_text_whatever_the_blocks(text: str, cuts: list[tuple[int, Kind]]) -> None:
    blocks = tuple(Block(min(start, len(text)), kind) for start, kind in sorted(cuts, key=lambda one: one[0]))
    check(text, blocks)


def test_a_heading_goes_with_what_follows_it() -> None:
    text = "# A\n\nAbout a.\n\n## B\n\n### C\n\nAbout c.\n"
    parsed = markdown.parse(text.encode(), "a.md")
    chunks = cut(parsed.text, parsed.blocks)
    assert [text[one.start : one.end] for one in chunks] == ["# A\n\nAbout a.", "## B\n\n### C\n\nAbout c."]
    assert [one.headings for one in chunks] == [("A",), ("A", "B", "C")]


def test_code_and_tables_stay_whole_while_they_fit() -> None:
    code = "```\n" + "value = 1\n" * 130 + "```"
    assert TARGET_CHARS < len(code) < MAX_CHARS
    text = f"Before.\n\n{code}\n\nAfter."
    parsed = markdown.parse(text.encode(), "a.md")
    assert code in [text[one.start : one.end] for one in cut(parsed.text, parsed.blocks)]


def test_long_prose_is_cut_at_sentence_ends() -> None:
    text = "This sentence says something. " * 100
    parsed = plain.parse(text.encode(), "a.txt")
    chunks = cut(parsed.text, parsed.blocks)
    assert len(chunks) > 3
    assert all(text[one.end - 1] == "." for one in chunks)
