"""When a process that died is started again."""

from __future__ import annotations

from answermesh.serve.restarts import (
    FIRST_WAIT_S,
    HEALTHY_AFTER_S,
    LONGEST_WAIT_S,
    STARTS_BEFORE_READY,
    GiveUp,
    History,
    Restart,
    after_death,
    after_ready,
)


def test_a_first_death_is_answered_at_once() -> None:
    _, decision = after_death(after_ready(History()), lived_s=5)
    assert decision == Restart(FIRST_WAIT_S)


def test_waits_double_up_to_a_bound_and_never_end() -> None:
    history, waits = after_ready(History()), []
    for _ in range(2000):
        history, decision = after_death(history, lived_s=0)
        assert isinstance(decision, Restart)
        waits.append(decision.wait_s)
    assert waits[:3] == [0.1, 0.2, 0.4]
    assert waits[-1] == max(waits) == LONGEST_WAIT_S


def test_a_healthy_life_forgives_earlier_deaths() -> None:
    history = after_ready(History())
    for _ in range(5):
        history, _ = after_death(history, lived_s=1)
    _, decision = after_death(history, lived_s=HEALTHY_AFTER_S)
    assert decision == Restart(FIRST_WAIT_S)


def test_a_process_that_was_never_ready_is_given_up() -> None:
    history = History()
    for _ in range(STARTS_BEFORE_READY - 1):
        history, decision = after_death(history, lived_s=HEALTHY_AFTER_S * 2)
        assert isinstance(decision, Restart)
    _, decision = after_death(history, lived_s=1)
    assert decision == GiveUp(STARTS_BEFORE_READY)


def test_a_process_that_was_ready_once_is_never_given_up() -> None:
    history, _ = after_death(History(), lived_s=1)
    history = after_ready(history)
    for _ in range(50):
        history, decision = after_death(history, lived_s=1)
        assert isinstance(decision, Restart)
