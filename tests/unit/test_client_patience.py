"""How long a reader comes back, and after which pauses."""

from __future__ import annotations

import pytest

from answermesh.client.patience import ACCEPT_S, FIRST_S, GRACE_S, PAUSES_S, SILENCE_S, Patience


def given_up_after_s(patience: Patience, now_s: float = 0.0) -> float:
    """When a reader whose every attempt fails at once gives up."""
    began_s = now_s
    while (pause_s := patience.broke(now_s, silent=False)) is not None:
        now_s += pause_s
    return now_s - began_s


def test_the_reader_of_an_accepted_query_comes_back_for_two_minutes_whatever_it_has_seen() -> None:
    assert given_up_after_s(Patience(0.0, accepted=True)) == pytest.approx(GRACE_S, abs=PAUSES_S[-1])


def test_a_question_that_nobody_accepts_is_given_up_within_seconds() -> None:
    assert given_up_after_s(Patience(0.0, accepted=False)) == pytest.approx(ACCEPT_S, abs=PAUSES_S[-1])


def test_the_first_event_says_that_the_question_was_accepted() -> None:
    patience = Patience(0.0, accepted=False)
    patience.heard(1.0)
    assert given_up_after_s(patience, 1.0) >= GRACE_S


def test_a_sign_of_life_lets_the_reader_bear_the_whole_time_again() -> None:
    patience = Patience(0.0, accepted=True)
    for now_s in range(0, 1000, int(GRACE_S)):
        patience.heard(now_s)
        assert patience.broke(now_s + GRACE_S - 1, silent=True) is not None
    assert given_up_after_s(patience, now_s) >= GRACE_S


def test_no_reader_gives_up_before_two_minutes_after_the_deadline_that_it_gave() -> None:
    patience = Patience(0.0, accepted=True, deadline_s=500.0)
    assert given_up_after_s(patience) >= 500.0 + GRACE_S


def test_pauses_grow_to_two_seconds_and_begin_anew_after_a_sign_of_life() -> None:
    patience = Patience(0.0, accepted=True)
    pauses = [patience.broke(0.0, silent=False) for _ in range(50)]
    assert pauses[: len(PAUSES_S)] == list(PAUSES_S)
    assert set(pauses[len(PAUSES_S) :]) == {2.0}
    patience.heard(0.0)
    assert patience.broke(0.0, silent=False) == PAUSES_S[0]


def test_only_silence_lets_a_reader_listen_for_longer_and_only_so_long() -> None:
    patience = Patience(0.0, accepted=True)
    for _ in range(10):
        patience.broke(0.0, silent=False)
    assert (patience.first_s, patience.silence_s) == (SILENCE_S, SILENCE_S)
    for _ in range(10):
        patience.broke(0.0, silent=True)
    assert patience.silence_s == 4 * SILENCE_S
    patience.heard(0.0)
    assert patience.silence_s == SILENCE_S


def test_a_question_has_more_time_for_its_first_event() -> None:
    assert Patience(0.0, accepted=False).first_s == FIRST_S
