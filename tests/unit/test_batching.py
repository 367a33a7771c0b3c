"""What the models run next: lanes, bounded batches, admission."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answermesh.errors import Failure, Reason
from answermesh.models.batching import BATCH_TOKENS, MAX_WAITING, Item, Job, Lane, Queue


def drained(queue: Queue) -> list[list[Item]]:
    batches = []
    while batch := queue.take():
        batches.append(batch)
    return batches


def test_a_query_goes_before_waiting_documents() -> None:
    queue = Queue()
    queue.admit(Job(Lane.DOCUMENT, [100] * 200))
    queue.take()
    queue.admit(Job(Lane.QUERY, [10]))

    assert [item.job.lane for item in queue.take()] == [Lane.QUERY]


def test_an_import_goes_on_under_endless_queries() -> None:
    queue = Queue()
    queue.admit(Job(Lane.DOCUMENT, [100]))
    lanes = []
    for _ in range(20):
        queue.admit(Job(Lane.QUERY, [10]))
        lanes += [item.job.lane for item in queue.take()]

    assert Lane.DOCUMENT in lanes


def test_texts_of_several_callers_share_a_batch() -> None:
    queue = Queue()
    jobs = [Job(Lane.DOCUMENT, [20]) for _ in range(3)]
    for job in jobs:
        queue.admit(job)

    assert {item.job for item in queue.take()} == set(jobs)


def test_a_batch_holds_texts_of_about_the_same_length() -> None:
    queue = Queue()
    queue.admit(Job(Lane.DOCUMENT, [20, 400, 21, 390, 22, 23]))

    assert sorted(item.length for item in queue.take()) == [20, 21, 22, 23]


def test_what_a_caller_left_never_runs() -> None:
    queue = Queue()
    left, stays = Job(Lane.DOCUMENT, [50] * 4), Job(Lane.DOCUMENT, [50] * 2)
    queue.admit(left)
    queue.admit(stays)
    queue.drop(left)

    assert [{item.job for item in batch} for batch in drained(queue)] == [{stays}]


def test_a_full_lane_refuses_and_says_when_to_come_back() -> None:
    queue = Queue()
    for _ in range(MAX_WAITING[Lane.DOCUMENT] // 256):
        queue.admit(Job(Lane.DOCUMENT, [100] * 256))

    with pytest.raises(Failure, match="limit of 2048") as caught:
        queue.admit(Job(Lane.DOCUMENT, [100]))

    assert caught.value.reason is Reason.OVERLOADED
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s >= 1
    queue.admit(Job(Lane.QUERY, [10]))  # the other lanes have room of their own


def test_faster_models_promise_an_earlier_return() -> None:
    def promised_s(tokens_per_s: int) -> float:
        queue = Queue()
        for _ in range(30):
            queue.ran(tokens_per_s, 1.0)
        queue.admit(Job(Lane.DOCUMENT, [500] * 2048))
        with pytest.raises(Failure) as caught:
            queue.admit(Job(Lane.DOCUMENT, [500]))
        assert caught.value.retry_after_s is not None
        return caught.value.retry_after_s

    assert promised_s(20_000) < promised_s(2_000)


jobs = st.builds(Job, st.sampled_from(Lane), st.lists(st.integers(2, 512), min_size=1, max_size=40))


@given(st.lists(jobs, max_size=12))
def test_every_text_runs_once_in_bounded_batches_of_one_lane(jobs: list[Job]) -> None:
    queue = Queue()
    for job in jobs:
        queue.admit(job)
    batches = drained(queue)

    assert len(queue) == 0
    ran = sorted((jobs.index(item.job), item.index) for batch in batches for item in batch)
    assert ran == [(number, index) for number, job in enumerate(jobs) for index in range(len(job.lengths))]
    for batch in batches:
        assert len({item.job.lane for item in batch}) == 1
        assert len(batch) == 1 or max(item.length for item in batch) * len(batch) <= BATCH_TOKENS
