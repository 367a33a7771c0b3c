"""Comparing a claim with a source: nothing altered is ever entailed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answermesh.agents.language.comparison import Relation, compare, negation_differs, numbers_missing

SOURCE = "The default heartbeat interval of an etcd member is 100 ms."


@pytest.mark.parametrize(
    ("claim", "source"),
    [
        (SOURCE, SOURCE),
        (SOURCE.replace(" of ", "\nof "), SOURCE),
        ("The default heartbeat interval is 100 ms.", SOURCE),
        ("The default heartbeat interval is 0.1 seconds.", "The default heartbeat interval is 100ms."),
        ("A cluster needs a majority of 3 members.", "A cluster needs a majority of three members."),
        ("Paris was founded in 1,200 BC.", "Paris was founded in 1200 BC."),
        ("The limit of a request is 1.5 MB.", "The limit of a request is 1500 kB, by default."),
        ("A learner does not vote.", "A learner does not vote, but it gets the log."),
    ],
)
def test_a_claim_in_the_words_of_the_source_is_entailed(claim: str, source: str) -> None:
    assert compare(claim, source).relation is Relation.ENTAILED


@pytest.mark.parametrize(
    ("claim", "source", "says"),
    [
        ("The default heartbeat interval of an etcd member is 200 ms.", SOURCE, "the source says 100 ms"),
        ("The default heartbeat interval of an etcd member is 100 s.", SOURCE, "the source says 100 ms"),
        ("The default heartbeat interval of an etcd member is not 100 ms.", SOURCE, 'without "not"'),
        ("A learner votes in elections of the cluster.", "A learner never votes in elections of the cluster.", "never"),
        ("The release was made in May 2014.", "The release was made in March 2014.", "says March"),
        ("The release was made in March 2015.", "The release was made in March 2014.", "says 2014"),
        ("TLS is enabled by default for peers.", "TLS is disabled by default for peers.", "disabled"),
        ("A cluster loses at least two members.", "A cluster loses at most two members.", "most"),
        ("Three of the members form a quorum.", "Two of the members form a quorum.", "says Two"),
        ("The disk used 5% of its time.", "The disk used 50% of its time.", "says 50%"),
    ],
)
def test_another_number_a_negation_or_an_opposite_contradicts(claim: str, source: str, says: str) -> None:
    found = compare(claim, source)
    assert found.relation is Relation.CONTRADICTED
    assert says in found.rationale


@pytest.mark.parametrize(
    ("claim", "source"),
    [
        ("Raft was designed by Lamport in 2014.", "Raft was designed by Ongaro in 2014."),
        ("The leader sends heartbeats to the follower.", "The follower sends heartbeats to the leader."),
        ("Members of the cluster accept writes.", "Members of the cluster accept writes only from the leader."),
        ("Writes are blocked on the members.", "If the leader fails, writes are blocked on the members."),
        ("The cluster grows without limit.", "The moon is made of rock."),
        ("Earth is the third planet.", "Earth is a planet."),
        ("The server of the mesh was attacked.", "It is said that the server of the mesh may be attacked."),
        ("Alice attacked the town.", "Alice was attacked by the town."),
        ("", SOURCE),
        (SOURCE, ""),
    ],
)
def test_what_words_cannot_settle_is_neutral(claim: str, source: str) -> None:
    assert compare(claim, source).relation is Relation.NEUTRAL


def test_a_negation_in_another_clause_contradicts_nothing() -> None:
    found = compare("The new disk format is fast.", "The old one is not slow, and the new disk format is fast.")
    assert found.relation is not Relation.CONTRADICTED


def test_a_number_of_another_measure_contradicts_nothing() -> None:
    found = compare("The test of the cluster took 5 minutes.", "The test of the cluster took 3 GB.")
    assert found.relation is Relation.NEUTRAL


def test_not_only_negates_nothing() -> None:
    found = compare("The store is fast and safe.", "The store is not only fast and safe, it is small.")
    assert found.relation is not Relation.CONTRADICTED


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_an_altered_number_is_never_entailed(one: int, other: int) -> None:
    found = compare(f"The cluster stored {one} keys in a day.", f"The cluster stored {other} keys in a day.")
    assert found.relation is (Relation.ENTAILED if one == other else Relation.CONTRADICTED)


WORDS = st.lists(
    st.sampled_from(
        """
        leader follower disk sends writes Paris Berlin not never 5 7 only if may
        """.split()
    ),
    max_size=9,
)


@given(WORDS, WORDS)
def test_a_claim_with_a_word_that_the_source_has_not_is_never_entailed(claim: list[str], source: list[str]) -> None:
    found = compare(" ".join(claim), " ".join(source))
    if set(claim) - set(source):
        assert found.relation is not Relation.ENTAILED


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_two_texts_can_be_compared(one: str, other: str) -> None:
    assert 0 <= compare(one, other).matched <= 1


def test_numbers_are_missed_by_value_not_by_spelling() -> None:
    assert numbers_missing("It took 2,000 ms and 7 days.", "After 2 seconds, and 1 week later") == []
    assert numbers_missing("It took 3 s.", "After 2 seconds") == ["3 s"]


def test_a_negation_on_one_side_is_seen() -> None:
    assert negation_differs("It doesn't vote.", "It votes.")
    assert not negation_differs("It doesn't vote.", "It never votes.")
