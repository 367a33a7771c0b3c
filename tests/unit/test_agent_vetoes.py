"""What forbids to call a claim supported: altered numbers and names."""

from __future__ import annotations

import pytest

from answermesh.agents.checking.vetoes import veto
from answermesh.agents.language.naming import names

SOURCE = "The Eiffel Tower in Paris was built by Gustave Eiffel in 1889 and is 330 metres tall."


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        ("The Eiffel Tower in Paris was built by Gustave Eiffel in 1887.", "1889"),
        ("The Eiffel Tower was finished in 1887.", "1889"),
        ("The tower stands 320 metres high.", "330 metres"),
        ("The Eiffel Tower in Lyon was built by Gustave Eiffel in 1889.", "Lyon"),
        ("The tower in Paris was built by Thomas Edison.", "Thomas"),
        ("The Tokyo Tower in Paris was built by Gustave Eiffel in 1889 and is 330 metres tall.", "Tokyo"),
    ],
)
def test_an_altered_number_or_name_is_named(claim: str, why: str) -> None:
    found = veto(claim, SOURCE)
    assert found
    assert why in found.reason


def test_another_quality_is_named_where_all_else_is_the_same() -> None:
    found = veto("The sky is green.", "The sky is blue.")
    assert found
    assert found.reason == "the source says blue, the sentence says green"
    assert not found.refutes, "it may be a word for the same"
    assert veto("The sky is green in spring.", "The sky is blue.") is None


@pytest.mark.parametrize(
    ("claim", "source"),
    [
        ("The Eiffel Tower was built in 1889.", SOURCE),
        ("In Paris, Gustave Eiffel built a tower.", SOURCE),
        ("The tower is more than 300 metres tall.", SOURCE),
        ("The tower was the proud work of Thomas Edison.", SOURCE),  # too far to tell: weighed
        ("Gustave Eiffel died in Paris.", "He died in Paris at the age of 91."),
        ("Walpole governed for two decades.", "Walpole was in office for 20 years."),
        ("The film came out in the 1960s.", "The film came out on 7 November 1963."),
        ("The quota is 2 GB.", "The quota is 2000 MB."),
        ("Paris is a city.", "Paris is the city."),
    ],
)
def test_what_is_said_in_other_words_is_no_alteration(claim: str, source: str) -> None:
    assert veto(claim, source) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Willie Stargell lived here after the Battle of Hastings.", ["Willie Stargell", "Battle of Hastings"]),
        ("Filming for the movie Gandhi in India was delayed.", ["Gandhi", "India"]),
        ("In May, John met Mary Smith and Bob.", ["John", "Mary Smith", "Bob"]),
        ("DNA repair needs BRCA1. Nothing else does.", ["DNA", "BRCA1"]),
        ("Nothing here is named.", []),
    ],
)
def test_names_are_told_by_their_capitals(text: str, found: list[str]) -> None:
    assert [name.text for name in names(text)] == found
