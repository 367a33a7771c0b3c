"""Tasks made records: a few items at once, each kept as it is done, none measured twice."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from answermesh.client import Client
from answermesh.errors import Failure, Reason
from answermesh.evaluation.meshes import Meshes
from answermesh.evaluation.records import Run
from answermesh.evaluation.suite import Corpus, Item, Outcome, Record, Suite, Task
from answermesh.serve.failures import first_failure

# A mesh that says it is overloaded is asked again, after the time it says or this.
_RETRIES = 5
_RETRY_S = 1.0


class Listener:
    """What a person at the terminal is told; this one tells nothing."""

    def importing(self, corpus: Corpus, done: int) -> None:
        """So many documents of a corpus are in the mesh."""

    def measured(self, suite: str, task: Task, done: int) -> None:
        """So many items of a task are measured, those of an earlier part of the run included."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A task of a suite, cut to the items that a limit leaves."""

    suite: Suite
    task: Task


def limited(task: Task, limit: int | None) -> Task:
    """The task with `limit` of its items: chosen by hash, so that they are a fair sample and the same in each run."""
    if limit is None or limit >= len(task.items):
        return task
    chosen = {item.id for item in sorted(task.items, key=lambda item: _hash(item.id))[:limit]}
    return Task(task.name, [item for item in task.items if item.id in chosen], task.corpus)


async def measure_all(
    chosen: Sequence[Chosen], run: Run, meshes: Meshes, listener: Listener, *, concurrency: int
) -> None:
    """Measure what the run does not have yet, corpus by corpus; the records are in the run.

    Raises Failure where a mesh does not start, take the documents or answer any more. An item that fails is recorded.
    """
    have = {(record.suite, record.task, record.item) for record in run.records() if not record.error}
    for corpus, tasks in _by_corpus(chosen):
        open_tasks = []
        for one in tasks:
            missing = [item for item in one.task.items if (one.suite.name, one.task.name, item.id) not in have]
            listener.measured(one.suite.name, one.task, len(one.task.items) - len(missing))
            if missing:
                open_tasks.append((one, missing))
        if not open_tasks:
            continue

        def imported(done: int, corpus: Corpus = corpus) -> None:
            listener.importing(corpus, done)

        async with meshes.open(corpus, imported) as mesh:
            for one, missing in open_tasks:
                await _Measuring(one, mesh, run, listener).all(missing, concurrency)


class _Measuring:
    """The items of one task, under way."""

    def __init__(self, chosen: Chosen, mesh: Client, run: Run, listener: Listener) -> None:
        self._suite, self._task = chosen.suite, chosen.task
        self._mesh, self._run, self._listener = mesh, run, listener

    async def all(self, missing: Sequence[Item], concurrency: int) -> None:
        items = iter(missing)
        done = len(self._task.items) - len(missing)

        async def work() -> None:
            nonlocal done
            for item in items:
                self._run.add(await self._record(item))
                done += 1
                self._listener.measured(self._suite.name, self._task, done)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise first_failure(errors) from errors

    async def _record(self, item: Item) -> Record:
        started_s = time.perf_counter()
        try:
            outcome, error = await self._outcome(item), ""
        except Failure as failure:
            if failure.reason is Reason.SERVICE_UNAVAILABLE:
                # The mesh is gone: nothing is said about the item.
                raise
            outcome, error = Outcome({}), f"{failure.reason.name}: {failure.message}"
        took_s = round(time.perf_counter() - started_s, 4)
        return Record(self._suite.name, self._task.name, item.id, took_s, outcome.metrics, outcome.details, error)

    async def _outcome(self, item: Item) -> Outcome:
        for _ in range(_RETRIES):
            try:
                return await self._suite.measure(self._mesh, self._task, item)
            except Failure as failure:
                if failure.reason is not Reason.OVERLOADED:
                    raise
                await asyncio.sleep(failure.retry_after_s or _RETRY_S)
        return await self._suite.measure(self._mesh, self._task, item)


def _by_corpus(chosen: Iterable[Chosen]) -> list[tuple[Corpus, list[Chosen]]]:
    found: dict[str, tuple[Corpus, list[Chosen]]] = {}
    for one in chosen:
        found.setdefault(one.task.corpus.key, (one.task.corpus, []))[1].append(one)
    return list(found.values())


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
