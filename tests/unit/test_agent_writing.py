"""A model's text as it streams: markers out, sentences whole, and NOT_FOUND never shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from answermesh.agents.authoring.writing import Writing, Written

RAW = "Etcd uses Raft [1]. It keeps 3 copies. [2][1] See a[0] for more [1, 2]."
SHOWN = "Etcd uses Raft. It keeps 3 copies. See a[0] for more."


def written(pieces: list[str]) -> tuple[str, list[Written], Writing]:
    writing = Writing()
    shown, sentences = "", []
    for piece in pieces:
        shown += writing.feed(piece)
        assert shown == writing.text
        sentences += writing.sentences()
    shown += writing.finish()
    sentences += writing.sentences(final=True)
    return shown, sentences, writing


def test_markers_leave_the_text_and_are_kept_with_their_sentence() -> None:
    shown, sentences, _ = written([RAW.replace("a[0]", "it")])
    assert shown == SHOWN.replace("a[0]", "it")
    assert [(one.text, one.sources) for one in sentences] == [
        ("Etcd uses Raft.", (1,)),
        ("It keeps 3 copies.", (2, 1)),
        ("See it for more.", (1, 2)),
    ]


@given(st.lists(st.integers(1, 12), min_size=1))
def test_where_the_pieces_are_cut_changes_nothing(sizes: list[int]) -> None:
    raw, pieces, size = RAW.replace("a[0]", "it"), [], 0
    while raw:
        pieces.append(raw[: sizes[size % len(sizes)]])
        raw, size = raw[len(pieces[-1]) :], size + 1
    shown, sentences, _ = written(pieces)
    assert shown == SHOWN.replace("a[0]", "it")
    assert [one.sources for one in sentences] == [(1,), (2, 1), (1, 2)]
    assert all(shown[one.start : one.end] == one.text for one in sentences)


def test_a_sentence_is_told_when_the_next_begins() -> None:
    writing = Writing()
    writing.feed("The first one is here. [1]")
    assert list(writing.sentences()) == []
    writing.feed(" The second follows now")
    assert [one.text for one in writing.sentences()] == ["The first one is here."]


@given(st.integers(1, 9))
def test_not_found_is_never_shown(size: int) -> None:
    raw = " NOT_FOUND because the sources are silent."
    shown, sentences, writing = written([raw[n : n + size] for n in range(0, len(raw), size)])
    assert (shown, sentences, writing.not_found) == ("", [], True)


def test_an_answer_that_only_begins_like_it_is_shown() -> None:
    assert written(["N", "o."])[0] == "No."
    assert written(["No"])[0] == "No"
    assert written(["NOT", " so fast."])[0] == "NOT so fast."
