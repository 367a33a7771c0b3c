"""The worker: order, cancellation, deadlines and failures, with a model whose runs the test holds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from answermesh.errors import Failure, Reason
from answermesh.models.encoder import Row
from answermesh.models.memory import Memory, key_of
from answermesh.models.queue import Lane
from answermesh.models.worker import Worker
from answermesh.rpc.deadline import fail_after


class HeldModel:
    """Answers a row by its first token; runs wait until the test lets them."""

    def __init__(self) -> None:
        self.runs: list[int] = []
        self.started = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def run(self, row: Row) -> NDArray[np.float32]:
        number = row.ids[0]
        self.runs.append(int(number))
        self.started.release()
        assert self.go.acquire(timeout=30)
        if number < 0:
            raise RuntimeError("broken weights")
        return np.array(number, dtype=np.float32)

    async def wait_started(self) -> None:
        assert await asyncio.to_thread(self.started.acquire, timeout=30)


def rows(*numbers: int, length: int = 8) -> list[Row]:
    return [Row(np.full(length, number), np.zeros(length, dtype=np.int64)) for number in numbers]


@asynccontextmanager
async def running(model: HeldModel, threads: int = 1) -> AsyncIterator[Worker]:
    worker = Worker(dict.fromkeys(Lane, model.run), threads)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(worker.run())
        yield worker
        model.go.release(100)
        task.cancel()


async def test_results_come_in_the_order_of_the_rows() -> None:
    model = HeldModel()
    model.go.release(100)
    async with running(model) as worker:
        results = await worker.submit(Lane.DOCUMENT, rows(3, length=400) + rows(1, 2) + rows(4, length=390))

    assert [float(result) for result in results] == [3, 1, 2, 4]


async def test_a_query_waits_for_no_more_than_the_running_text_of_an_import() -> None:
    model = HeldModel()
    async with running(model) as worker, asyncio.TaskGroup() as group:
        group.create_task(worker.submit(Lane.DOCUMENT, rows(1, 2, 3, length=500)))
        await model.wait_started()
        query = group.create_task(worker.submit(Lane.QUERY, rows(9)))
        await asyncio.sleep(0)
        model.go.release(2)
        await query
        assert model.runs[:2] == [1, 9]
        model.go.release(2)


async def test_the_work_of_a_cancelled_caller_never_runs() -> None:
    model = HeldModel()
    async with running(model) as worker, asyncio.TaskGroup() as group:
        blocking = group.create_task(worker.submit(Lane.QUERY, rows(1)))
        await model.wait_started()
        leaving = group.create_task(worker.submit(Lane.QUERY, rows(2)))
        staying = group.create_task(worker.submit(Lane.QUERY, rows(3)))
        await asyncio.sleep(0)
        leaving.cancel()
        model.go.release(2)
        await asyncio.gather(blocking, staying)

    assert model.runs == [1, 3]


async def test_a_caller_that_leaves_while_its_text_runs_harms_nobody() -> None:
    model = HeldModel()
    async with running(model) as worker:
        async with asyncio.TaskGroup() as group:
            leaving = group.create_task(worker.submit(Lane.QUERY, rows(1)))
            await model.wait_started()
            leaving.cancel()
            model.go.release(2)
        assert [float(result) for result in await worker.submit(Lane.QUERY, rows(2))] == [2]


async def test_what_two_callers_ask_at_once_runs_once() -> None:
    model = HeldModel()
    async with running(model) as worker, asyncio.TaskGroup() as group:
        first = group.create_task(worker.submit(Lane.SCORE, rows(1, 2)))
        await model.wait_started()
        second = group.create_task(worker.submit(Lane.SCORE, rows(2, 3)))
        await asyncio.sleep(0)
        model.go.release(100)
        assert [float(result) for result in await first] == [1, 2]
        assert [float(result) for result in await second] == [2, 3]
    assert sorted(model.runs) == [1, 2, 3]


async def test_pairs_of_one_call_run_at_once_and_alone() -> None:
    model = HeldModel()
    async with running(model, threads=2) as worker, asyncio.TaskGroup() as group:
        scores = group.create_task(worker.submit(Lane.SCORE, rows(1, 2, 3)))
        await model.wait_started()
        await model.wait_started()
        assert sorted(model.runs) == [1, 2]
        model.go.release(3)
        assert [float(result) for result in await scores] == [1, 2, 3]


async def test_what_runs_already_for_another_caller_is_waited_for() -> None:
    model = HeldModel()
    async with running(model, threads=2) as worker, asyncio.TaskGroup() as group:
        leaving = group.create_task(worker.submit(Lane.SCORE, rows(1)))
        await model.wait_started()
        same = group.create_task(worker.submit(Lane.SCORE, rows(1)))
        other = group.create_task(worker.submit(Lane.SCORE, rows(2)))
        await model.wait_started()
        leaving.cancel()
        model.go.release(2)
        assert [float(result) for result in await same] == [1]
        assert [float(result) for result in await other] == [2]
    assert sorted(model.runs) == [1, 2]


async def test_what_fails_fails_for_all_who_wait_for_it(caplog: pytest.LogCaptureFixture) -> None:
    model = HeldModel()
    async with running(model, threads=2) as worker:
        asked = [asyncio.create_task(worker.submit(Lane.SCORE, rows(number))) for number in (-1, -1, 2)]
        await model.wait_started()
        await model.wait_started()
        model.go.release(2)
        broken, same, [whole] = await asyncio.gather(*asked, return_exceptions=True)
    assert (type(broken), type(same), float(whole)) == (Failure, Failure, 2)
    assert sorted(model.runs) == [-1, 2]
    assert "broken weights" in caplog.text


async def test_documents_are_not_remembered_since_they_would_push_out_what_is_asked_again() -> None:
    model = HeldModel()
    model.go.release(100)
    async with running(model) as worker:
        for _ in range(2):
            await worker.submit(Lane.DOCUMENT, rows(1))
    assert model.runs == [1, 1]


def test_the_memory_forgets_what_was_used_longest_ago() -> None:
    memory = Memory(rows=2)
    one, two, three = (key_of(Lane.QUERY, row) for row in rows(1, 2, 3))
    memory.put(one, np.array(1, np.float32))
    memory.put(two, np.array(2, np.float32))
    assert memory.get(one) is not None
    memory.put(three, np.array(3, np.float32))
    assert memory.get(two) is None
    assert memory.get(key_of(Lane.SCORE, rows(1)[0])) is None
    assert memory.get(one) == 1


async def test_the_deadline_ends_the_wait() -> None:
    model = HeldModel()
    async with running(model) as worker:
        with pytest.raises(Failure) as caught:
            async with fail_after(0.01):
                await worker.submit(Lane.QUERY, rows(1))

    assert caught.value.reason is Reason.DEADLINE_EXCEEDED


async def test_a_failing_model_fails_its_callers_and_the_next_are_served(caplog: pytest.LogCaptureFixture) -> None:
    model = HeldModel()
    model.go.release(10)
    async with running(model) as worker:
        with pytest.raises(Failure) as caught:
            await worker.submit(Lane.DOCUMENT, rows(-1))
        served = await worker.submit(Lane.DOCUMENT, rows(5))

    assert caught.value.reason is Reason.MODEL_UNAVAILABLE
    assert "broken weights" not in caught.value.message
    assert "broken weights" in caplog.text
    assert [float(result) for result in served] == [5]
