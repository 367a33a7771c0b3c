"""Tasks made records: a few items at once, each kept as it is done, none measured twice."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
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
    chosen: Sequence[Chosen],
    run: Run,
    meshes: Meshes,
    listener: Listener,
    *,
    concurrency: int,
    limit_s: float | None = None,
) -> None:
    """Measure what the run does not have yet, corpus by corpus, the smallest first; the records are in the run.

    With `limit_s` it ends then: each task has a like share of the time that is left when it begins, and takes its items
    in an order of chance, so that those measured are a fair sample.

    Raises Failure where a mesh does not start, take the documents or answer any more, on the second attempt as well. An
    item that fails is recorded.
    """
    corpora = sorted(_by_corpus(chosen), key=lambda one: one[0].size)
    left = len(chosen)
    ends_s = asyncio.get_running_loop().time() + limit_s if limit_s is not None else None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(ends_s):
            for corpus, tasks in corpora:
                for last in (False, True):
                    try:
                        await _measure(corpus, tasks, run, meshes, listener, concurrency, ends_s, left)
                        break
                    except Failure as failure:
                        # A machine that does too much at once breaks connections; what is recorded is not lost.
                        if last or failure.reason is not Reason.SERVICE_UNAVAILABLE:
                            raise
                left -= len(tasks)


async def _measure(
    corpus: Corpus,
    tasks: Sequence[Chosen],
    run: Run,
    meshes: Meshes,
    listener: Listener,
    concurrency: int,
    ends_s: float | None,
    left: int,
) -> None:
    """The tasks of one corpus; `left` counts these and all behind them."""
    have = {(record.suite, record.task, record.item) for record in run.records() if not record.error}
    missing = [
        [item for item in one.task.items if (one.suite.name, one.task.name, item.id) not in have] for one in tasks
    ]
    for one, items in zip(tasks, missing, strict=True):
        listener.measured(one.suite.name, one.task, len(one.task.items) - len(items))
    if not any(missing):
        return
    async with meshes.open(corpus, lambda done: listener.importing(corpus, done)) as mesh:
        for n, (one, items) in enumerate(zip(tasks, missing, strict=True)):
            measuring = _Measuring(one, mesh, run, listener)
            if ends_s is None:
                await measuring.all(items, concurrency)
            else:
                now_s = asyncio.get_running_loop().time()
                by_chance = sorted(items, key=lambda item: _hash(item.id))
                await measuring.all(by_chance, concurrency, now_s + (ends_s - now_s) / (left - n))


class _Measuring:
    """The items of one task, under way."""

    def __init__(self, chosen: Chosen, mesh: Client, run: Run, listener: Listener) -> None:
        self._suite, self._task = chosen.suite, chosen.task
        self._mesh, self._run, self._listener = mesh, run, listener

    async def all(self, missing: Sequence[Item], concurrency: int, until_s: float = math.inf) -> None:
        """Measure these; none is begun after `until_s` on the loop's clock."""
        items = iter(missing)
        done = len(self._task.items) - len(missing)
        clock = asyncio.get_running_loop().time

        async def work() -> None:
            nonlocal done
            for item in items:
                if clock() >= until_s:
                    return
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
