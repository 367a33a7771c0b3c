"""Threads that run the models, fed from the queue text by text: the event loop never waits for a model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from answermesh.errors import Failure, Reason
from answermesh.models.encoder import Row
from answermesh.models.memory import Key, Memory, key_of
from answermesh.models.queue import Item, Job, Lane, Queue
from answermesh.rpc.deadline import bound_s

_log = logging.getLogger(__name__)

# Longest wait of a call that has no deadline of its own.
MAX_WAIT_S = 120.0

Result = NDArray[np.float32]
Run = Callable[[Row], Result]


@dataclass(slots=True, eq=False)
class _Pending:
    """A call that waits: its rows, and the results that came so far."""

    rows: Sequence[Row]
    results: list[Result | None]
    missing: int
    done: asyncio.Future[None]


class Worker:
    """Runs rows of all callers, in the order that the queue decides.

    `runs` says for each lane which function turns a row into its result, and `threads` how many run at once.
    """

    def __init__(self, runs: Mapping[Lane, Run], threads: int) -> None:
        self._runs = runs
        self._threads = threads
        self._queue = Queue()
        self._memory = Memory()
        self._pending: dict[Job, _Pending] = {}
        # Who asked for the rows that run: the first, and those with the same one meanwhile.
        self._running: dict[Key, list[Item]] = {}
        self._arrived = asyncio.Event()

    async def submit(self, lane: Lane, rows: Sequence[Row]) -> list[Result]:
        """The results of the rows, in their order.

        Raises Failure(OVERLOADED) at once if too much waits, Failure(DEADLINE_EXCEEDED) at the call's deadline, and
        Failure(MODEL_UNAVAILABLE) if the model fails. Whatever ends the call, what has not run by then never runs.
        """
        job = Job(lane, [len(row) for row in rows])
        self._queue.admit(job)
        done = asyncio.get_running_loop().create_future()
        pending = self._pending[job] = _Pending(rows, [None] * len(rows), len(rows), done)
        self._arrived.set()
        try:
            async with asyncio.timeout(bound_s(MAX_WAIT_S)):
                await done
        except TimeoutError:
            message = "The models did not come to this call within its deadline; allow more time, or send fewer texts."
            raise Failure(Reason.DEADLINE_EXCEEDED, message) from None
        finally:
            del self._pending[job]
            self._queue.drop(job)
        return [result for result in pending.results if result is not None]

    async def run(self) -> None:
        """Run texts until cancelled; those that run then are waited for, since a thread cannot be stopped."""
        with ThreadPoolExecutor(self._threads, thread_name_prefix="models") as threads:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._threads):
                    group.create_task(self._run_next(threads))

    async def _run_next(self, threads: Executor) -> None:
        """One text after another, each in one of the threads."""
        while True:
            if (item := self._queue.take()) is None:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            row = self._pending[item.job].rows[item.index]
            key = key_of(item.job.lane, row)
            if (result := self._memory.get(key)) is not None:
                self._deliver(item, result)
                # So that callers leave even where nothing has to run.
                await asyncio.sleep(0)
            elif (same := self._running.get(key)) is not None:
                same.append(item)
            else:
                await self._run(threads, item, key, row)

    async def _run(self, threads: Executor, item: Item, key: Key, row: Row) -> None:
        loop = asyncio.get_running_loop()
        asking = self._running[key] = [item]
        started_s = loop.time()
        try:
            result = await loop.run_in_executor(threads, self._runs[item.job.lane], row)
        # Whatever the model's library raises, the other callers' texts run.
        except Exception:
            _log.exception("A model failed on a text of %d tokens", item.length)
            for one in asking:
                self._fail(one.job)
            return
        finally:
            del self._running[key]
        self._queue.ran(item.length, (loop.time() - started_s) / self._threads)
        self._memory.put(key, result)
        for one in asking:
            self._deliver(one, result)

    def _deliver(self, item: Item, result: Result) -> None:
        # The caller may have left while the text ran.
        if (pending := self._pending.get(item.job)) is None:
            return
        pending.results[item.index] = result
        pending.missing -= 1
        if not pending.missing and not pending.done.done():
            pending.done.set_result(None)

    def _fail(self, job: Job) -> None:
        pending = self._pending.get(job)
        if pending is not None and not pending.done.done():
            message = "The model failed on these texts; the log of the models service says why."
            pending.done.set_exception(Failure(Reason.MODEL_UNAVAILABLE, message))
