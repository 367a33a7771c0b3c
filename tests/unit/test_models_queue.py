"""What the models run next: lanes, order, admission."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answermesh.errors import Failure, Reason
from answermesh.models.queue import MAX_WAITING, Item, Job, Lane, Queue


def drained(queue: Queue) -> list[Item]:
    items = []
    while (item := queue.take()) is not None:
        items.append(item)
    return items


def test_a_query_goes_before_waiting_pairs_and_documents() -> None:
    queue = Queue()
    for lane in reversed(Lane):
        queue.admit(Job(lane, [100] * 2))

    assert [item.job.lane for item in drained(queue)] == sorted(list(Lane) * 2)


def test_an_import_gets_an_eighth_of_the_tokens_under_endless_queries() -> None:
    queue = Queue()
    queue.admit(Job(Lane.DOCUMENT, [250] * 100))
    tokens = dict.fromkeys(Lane, 0)
    for _ in range(1000):
        queue.admit(Job(Lane.QUERY, [16]))
        item = queue.take()
        assert item is not None
        tokens[item.job.lane] += item.length

    assert tokens[Lane.QUERY] == pytest.approx(7 * tokens[Lane.DOCUMENT], rel=0.15)


def test_what_a_caller_left_never_runs() -> None:
    queue = Queue()
    left, stays = Job(Lane.DOCUMENT, [50] * 4), Job(Lane.DOCUMENT, [50] * 2)
    queue.admit(left)
    queue.admit(stays)
    queue.drop(left)

    assert [item.job for item in drained(queue)] == [stays] * 2


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
def test_every_text_runs_once_and_those_of_a_call_in_their_order(jobs: list[Job]) -> None:
    queue = Queue()
    for job in jobs:
        queue.admit(job)
    items = drained(queue)

    assert len(queue) == 0
    for job in jobs:
        assert [item.index for item in items if item.job is job] == list(range(len(job.lengths)))
