"""How two rankings become one, and which queries are questions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answermesh.knowledge.fusion import fuse, is_question

RANKINGS = st.lists(st.integers(1, 40), unique=True, max_size=20).map(
    lambda ids: [(one, 1.0 / rank) for rank, one in enumerate(ids, start=1)]
)


@given(RANKINGS, RANKINGS)
def test_each_passage_comes_once_and_best_first(
    lexical: list[tuple[int, float]], nearest: list[tuple[int, float]]
) -> None:
    hits = fuse(lexical, nearest)
    assert {hit.passage_id for hit in hits} == {one for one, _ in [*lexical, *nearest]}
    assert len(hits) == len({hit.passage_id for hit in hits})
    assert [hit.fused for hit in hits] == sorted((hit.fused for hit in hits), reverse=True)
    assert all(0 < hit.fused < 1 for hit in hits)


def test_what_both_find_comes_before_what_one_finds() -> None:
    assert [hit.passage_id for hit in fuse([(1, 9.0), (2, 8.0)], [(3, 0.9), (2, 0.8)])] == [2, 1, 3]


def test_the_scores_of_both_searches_are_kept() -> None:
    both, lexical, nearest = sorted(fuse([(1, 9.0), (2, 8.0)], [(1, 0.9), (3, 0.8)]), key=lambda hit: hit.passage_id)
    assert (both.lexical, both.vector) == (9.0, 0.9)
    assert (lexical.vector, nearest.lexical) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("What is a quorum?", True),
        ("how does raft elect a leader", True),
        ("quorum size?", True),
        ("snapshot count flag", False),
        ("etcd", False),
        ("whatsoever", False),
    ],
)
def test_questions_are_told_from_keywords(query: str, expected: bool) -> None:
    assert is_question(query) is expected
