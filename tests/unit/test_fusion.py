"""How two searches become one ranking, what is read again, and which queries are questions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answermesh.knowledge.fusion import (
    COSINE_POINTS,
    MAX_RERANKED,
    NEAR_POINTS,
    SEED_RANGE_POINTS,
    Candidate,
    Link,
    contenders,
    followed,
    fuse,
    is_question,
    reranked,
    seeds,
    spread,
)

WORDS = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.1, 12), max_size=6)
CANDIDATES = st.lists(st.tuples(WORDS, st.none() | st.floats(-1, 1)), max_size=30).map(
    lambda made: [Candidate(number, words, cosine) for number, (words, cosine) in enumerate(made)]
)


@given(CANDIDATES)
def test_each_passage_comes_once_and_best_first(candidates: list[Candidate]) -> None:
    fused = fuse(candidates)
    assert sorted(one.passage_id for one, _ in fused) == [one.passage_id for one in candidates]
    points = [value for _, value in fused]
    assert points == sorted(points, reverse=True)


@given(CANDIDATES)
def test_spreading_loses_nothing_and_keeps_the_best_in_front(candidates: list[Candidate]) -> None:
    fused = fuse(candidates)
    order = spread([one for one, _ in fused], [value for _, value in fused])
    assert sorted(order) == list(range(len(candidates)))
    assert order[:1] == [0][: len(candidates)]


def test_words_and_meaning_add_up() -> None:
    words, meaning, both = Candidate(1, {"raft": 9.0}, 0.5), Candidate(2, {}, 0.6), Candidate(3, {"raft": 9.0}, 0.6)
    assert [one.passage_id for one, _ in fuse([words, meaning, both])] == [3, 1, 2]
    [(_, points)] = fuse([both])
    assert points == pytest.approx(9 + COSINE_POINTS * 0.6)


def test_a_passage_without_a_vector_counts_as_the_least_near() -> None:
    found = fuse([Candidate(1, {"raft": 9.0}), Candidate(2, {}, 0.5), Candidate(3, {"raft": 1.0}, 0.9)])
    assert [one.passage_id for one, _ in found] == [3, 1, 2]
    assert [one.passage_id for one, _ in fuse([Candidate(1, {"a": 1.0}), Candidate(2, {"a": 2.0})])] == [2, 1]


def test_only_what_could_come_first_is_read_again() -> None:
    assert contenders([]) == 0
    assert contenders([50.0]) == 0
    assert contenders([50.0, 50 - NEAR_POINTS - 1]) == 0
    assert contenders([50.0, 45.0, 20.0]) == 2
    assert contenders([50.0] * 40) == MAX_RERANKED


def test_what_was_not_read_is_never_put_before_what_was_for_that() -> None:
    assert reranked(50, None) <= reranked(50, -11)
    assert reranked(50, -11) == reranked(50, -7)
    assert reranked(50, 1) > reranked(50, 0)


def test_a_passage_on_the_other_half_of_the_question_comes_before_a_second_one_on_the_first() -> None:
    first, again = Candidate(1, {"raft": 9.0}, 0.5), Candidate(2, {"raft": 8.0}, 0.5)
    other = Candidate(3, {"paxos": 6.0}, 0.5)
    points = [one.lexical for one in (first, again, other)]
    assert spread([first, again, other], points) == [0, 2, 1]


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


def test_the_best_are_followed_the_more_the_nearer_they_are_to_the_first() -> None:
    weights = seeds({1: 50.0, 2: 45.0, 3: 50 - SEED_RANGE_POINTS, 4: 49.0, 5: 49.0}, [1, 2, 3, 4, 5])
    assert weights == {1: 1.0, 2: pytest.approx(1 - 5 / SEED_RANGE_POINTS)}
    assert seeds({}, []) == {}


def test_a_link_lifts_a_passage_but_never_above_the_one_that_leads_there() -> None:
    points = {1: 50.0, 2: 30.0, 3: 45.0, 4: 60.0}
    links = [Link(1, 2, 1.0), Link(1, 2, 0.1), Link(1, 3, 1.0), Link(1, 4, 1.0)]
    raised = followed(points, {1: 1.0}, links)
    assert raised[2] == 42.0
    assert 45 < raised[3] < 50
    assert raised[4] == 60.0
    assert points[2] == 30.0
