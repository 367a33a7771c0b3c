"""What decides where runs go and whether they are made twice: standing, budget, recent times."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.reaching.budget import FREE_PER_S, MOST, SHARE, Budget
from answermesh.orchestrator.reaching.first_words import FirstWords
from answermesh.orchestrator.reaching.standing import FAILURES, FIRST_S, Standing

GONE = Failure(Reason.SERVICE_UNAVAILABLE, "gone")


def failed(times: int) -> Standing:
    standing = Standing()
    for _ in range(times):
        standing.begun()
        standing.over(GONE, 0.0)
    return standing


def test_a_replica_is_ejected_after_failures_in_a_row_and_not_before() -> None:
    assert failed(FAILURES - 1).may_run(0.0)
    assert not failed(FAILURES).may_run(0.0)


def test_an_ejected_replica_gets_one_run_on_trial_and_all_after_that_went_well() -> None:
    standing = failed(FAILURES)
    assert standing.may_run(FIRST_S)
    standing.begun()
    assert not standing.may_run(FIRST_S)
    standing.over(None, FIRST_S)
    assert standing.may_run(FIRST_S)
    standing.begun()
    assert standing.may_run(FIRST_S)


def test_a_trial_that_fails_ejects_for_twice_as_long() -> None:
    standing = failed(FAILURES)
    standing.begun()
    standing.over(GONE, FIRST_S)
    assert not standing.may_run(2.9 * FIRST_S)
    assert standing.may_run(3 * FIRST_S)


def test_a_process_that_takes_many_runs_with_it_is_ejected_for_no_longer_than_with_few() -> None:
    standing = Standing()
    for _ in range(4 * FAILURES):
        standing.begun()
    for _ in range(4 * FAILURES):
        standing.over(GONE, 0.0)
    assert not standing.may_run(0.9 * FIRST_S)
    assert standing.may_run(FIRST_S)


def test_a_process_that_comes_back_gets_runs_at_once_and_one_that_keeps_going_has_to_pass_its_trial() -> None:
    standing = failed(FAILURES)
    standing.came_back()
    assert standing.may_run(0.0)
    for _ in range(FAILURES):
        standing.begun()
        standing.over(GONE, 0.0)
    standing.came_back()
    assert not standing.may_run(0.0)
    assert standing.may_run(2 * FIRST_S)


def test_a_trial_that_was_cancelled_leaves_room_for_another() -> None:
    standing = failed(FAILURES)
    standing.begun()
    standing.cancelled()
    assert standing.may_run(FIRST_S)


def test_what_is_the_querys_fault_is_not_held_against_the_replica() -> None:
    standing = failed(FAILURES - 1)
    standing.over(Failure(Reason.INVALID_CARD, "lies"), 0.0)
    standing.over(GONE, 0.0)
    assert standing.may_run(0.0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 0.1)), max_size=400))
def test_repetitions_never_exceed_a_fifth_of_all_runs_and_what_is_free(steps: list[tuple[bool, float]]) -> None:
    budget, now_s, runs, repeated = Budget(0.0), 0.0, 0, 0
    for is_run, passes_s in steps:
        now_s += passes_s
        if is_run:
            budget.begun()
            runs += 1
        elif not budget.take(now_s):
            repeated += 1
    assert repeated <= MOST + SHARE * runs + FREE_PER_S * now_s + 1e-6


def test_a_spent_budget_says_when_it_can_be_paid_again() -> None:
    budget = Budget(0.0)
    while not (wait_s := budget.take(0.0)):
        pass
    assert 0 < wait_s <= 1 / FREE_PER_S
    assert budget.take(wait_s) == 0


def test_the_95th_percentile_is_known_after_enough_runs_and_follows_the_recent_ones() -> None:
    times = FirstWords()
    for _ in range(19):
        times.add(0.1)
    assert times.p95_s is None
    times.add(0.1)
    assert times.p95_s == 0.1
    for _ in range(200):
        times.add(0.5)
    assert times.p95_s == 0.5
