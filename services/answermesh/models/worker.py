"""One thread that runs the models, fed from the queue batch by batch: the event loop never waits for a model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from answermesh.errors import Failure, Reason
from answermesh.models.batching import Item, Job, Lane, Queue
from answermesh.models.encoder import Row
from answermesh.models.memory import Memory
from answermesh.rpc.deadline import bound_s

_log = logging.getLogger(__name__)

# Longest wait of a call that has no deadline of its own.
MAX_WAIT_S = 120.0

Results = NDArray[np.float32]
Run = Callable[[Sequence[Row]], Results]


@dataclass(slots=True, eq=False)
class _Pending:
    """A call that waits: its rows, and the results that came so far."""

    rows: Sequence[Row]
    results: list[Results | None]
    missing: int
    done: asyncio.Future[None]


class Worker:
    """Runs rows of all callers, in the order that the queue decides.

    `runs` says for each lane which function turns rows into results (one per row, along the first axis).
    """

    def __init__(self, runs: Mapping[Lane, Run]) -> None:
        self._runs = runs
        self._queue = Queue()
        self._memory = Memory()
        self._pending: dict[Job, _Pending] = {}
        self._arrived = asyncio.Event()

    async def submit(self, lane: Lane, rows: Sequence[Row]) -> list[Results]:
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
        """Run batches until cancelled; a batch that runs then is waited for, since a thread cannot be stopped."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="models") as thread:
            while True:
                batch = self._queue.take()
                if not batch:
                    self._arrived.clear()
                    await self._arrived.wait()
                    continue
                if not (batch := self._without_known(batch)):
                    # So that an import goes on, and callers leave, even where nothing has to run.
                    await asyncio.sleep(0)
                    continue
                rows = [self._row(item) for item in batch]
                started_s = loop.time()
                try:
                    results = await loop.run_in_executor(thread, self._runs[batch[0].job.lane], rows)
                # Whatever the model's library raises, the other callers' batches go on.
                except Exception:
                    _log.exception("A model failed on a batch of %d texts", len(batch))
                    self._fail(batch)
                    continue
                self._queue.ran(sum(item.length for item in batch), loop.time() - started_s)
                for item, row, result in zip(batch, rows, results, strict=True):
                    self._memory.put(item.job.lane, row, result)
                self._deliver(batch, results)

    def _row(self, item: Item) -> Row:
        return self._pending[item.job].rows[item.index]

    def _without_known(self, batch: Sequence[Item]) -> list[Item]:
        """Deliver what was said lately; the rest has to run."""
        known = [(item, self._memory.get(item.job.lane, self._row(item))) for item in batch]
        for item, result in known:
            if result is not None:
                self._deliver([item], result[np.newaxis])
        return [item for item, result in known if result is None]

    def _deliver(self, batch: Sequence[Item], results: Results) -> None:
        for item, result in zip(batch, results, strict=True):
            # Callers may have left while the batch ran.
            if (pending := self._pending.get(item.job)) is None:
                continue
            pending.results[item.index] = result
            pending.missing -= 1
            if not pending.missing and not pending.done.done():
                pending.done.set_result(None)

    def _fail(self, batch: Sequence[Item]) -> None:
        for job in {item.job for item in batch}:
            pending = self._pending.get(job)
            if pending is not None and not pending.done.done():
                message = "The model failed on these texts; the log of the models service says why."
                pending.done.set_exception(Failure(Reason.MODEL_UNAVAILABLE, message))
