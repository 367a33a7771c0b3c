"""Who is tried next: fallback, retries, back-off, ejection and probing, on a clock of numbers."""

from __future__ import annotations

import pytest

from answermesh.llm.course import MAX_ATTEMPTS, Candidate, Course, Health, Kind, Trouble
from answermesh.llm.provider import Provider

A, B = (Candidate(Provider(name, "http://127.0.0.1:9/v1", ("m",)), "m") for name in "ab")
BROKEN = Trouble(Kind.BROKEN)


def course(*candidates: Candidate, health: dict[str, Health] | None = None) -> Course:
    return Course(candidates, health or {"a": Health(), "b": Health()}, lambda: 1.0)


def test_the_first_is_preferred_and_the_second_takes_over_at_once() -> None:
    tried = course(A, B)

    assert tried.next(0) == (A, 0)
    tried.failed(A, BROKEN, 0)
    assert tried.next(0) == (B, 0)


def test_one_alone_is_tried_three_times_with_growing_pauses() -> None:
    tried = course(A)
    pauses = []
    now_s = 0.0
    while chosen := tried.next(now_s):
        pauses.append(chosen[1])
        now_s += chosen[1]
        tried.failed(A, BROKEN, now_s)

    assert pauses == [0, 0.5, 1.0]
    assert len(pauses) == MAX_ATTEMPTS


def test_retry_after_is_honoured() -> None:
    tried = course(A)
    tried.failed(A, Trouble(Kind.RATE_LIMITED, 7.0), 0)

    assert tried.next(2) == (A, 5)


def test_a_longer_pause_than_a_minute_is_not_waited_for() -> None:
    tried = course(A)
    tried.failed(A, Trouble(Kind.RATE_LIMITED, 3600.0), 0)

    assert tried.next(0) is None


@pytest.mark.parametrize("kind", [Kind.REFUSED, Kind.UNSUITED])
def test_what_a_repetition_cannot_help_is_not_repeated(kind: Kind) -> None:
    tried = course(A, B)
    tried.failed(A, Trouble(kind), 0)

    assert tried.next(0) == (B, 0)
    tried.failed(B, Trouble(kind), 0)
    assert tried.next(0) is None


def test_other_calls_keep_away_from_a_rate_limited_provider() -> None:
    health = {"a": Health(), "b": Health()}
    health["a"].failed(Trouble(Kind.RATE_LIMITED, 20.0), 0)

    assert course(A, B, health=health).next(1) == (B, 0)
    assert course(A, health=health).next(1) == (A, 19)


def test_three_failures_running_eject_and_one_call_probes_afterwards() -> None:
    health = {"a": Health()}
    for _ in range(3):
        health["a"].failed(BROKEN, 0)

    assert course(A, health=health).next(4.9) is None
    assert course(A, health=health).next(5.0) == (A, 0)
    health["a"].asked(5.0)
    assert course(A, health=health).next(5.1) is None
    health["a"].succeeded()
    assert course(A, health=health).next(5.2) == (A, 0)


def test_a_probe_that_fails_doubles_the_ejection_up_to_a_minute() -> None:
    health = Health()
    now_s = 0.0
    times = []
    for _ in range(10):
        health.failed(BROKEN, now_s)
        if health.is_ejected(now_s):
            times.append(health.ejected_until_s - now_s)
            now_s = health.ejected_until_s

    assert times == [5, 10, 20, 40, 60, 60, 60, 60]


def test_a_success_between_failures_ejects_nobody() -> None:
    health = Health()
    for _ in range(5):
        health.failed(BROKEN, 0)
        health.failed(BROKEN, 0)
        health.succeeded()

    assert not health.is_ejected(0)


def test_a_request_that_does_not_suit_says_nothing_against_the_providers_health() -> None:
    health = Health()
    for _ in range(10):
        health.failed(Trouble(Kind.UNSUITED), 0)

    assert not health.is_ejected(0)
