"""Which of the passages found are shown as one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from answermesh.knowledge.neighbors import MAX_JOINED, Place, joined

RANKED = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 12)), unique=True, max_size=20).map(
    lambda places: [Place(*one) for one in places]
)


def test_passages_side_by_side_are_one_at_the_rank_of_the_better() -> None:
    ranked = [Place("a", 4), Place("b", 1), Place("a", 5), Place("a", 9), Place("a", 3)]
    assert joined(ranked, 5) == [[4, 0, 2], [1], [3]]
    assert joined(ranked, 3) == [[0, 2], [1], [3]]


@given(RANKED, st.integers(1, 12))
def test_no_passage_is_shown_twice_and_groups_have_no_gap(ranked: list[Place], limit: int) -> None:
    groups = joined(ranked, limit)
    assert len(groups) <= limit
    shown = [one for group in groups for one in group]
    assert len(shown) == len(set(shown))
    assert set(range(min(limit, len(ranked)))) <= set(shown) | set(range(len(groups), len(ranked)))
    for group in groups:
        ordinals = [ranked[one].ordinal for one in group]
        assert ordinals == list(range(ordinals[0], ordinals[0] + len(group)))
        assert len({ranked[one].document_id for one in group}) == 1
        assert len(group) <= MAX_JOINED
    assert [min(group) for group in groups] == sorted(min(group) for group in groups)
