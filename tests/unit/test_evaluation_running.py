"""Runs: bounded in time, and not ended by one broken connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from answermesh.client import Client
from answermesh.errors import Failure, Reason
from answermesh.evaluation.meshes import Meshes, Progress
from answermesh.evaluation.records import Runs
from answermesh.evaluation.running import Chosen, Listener, measure_all
from answermesh.evaluation.suite import Corpus, Item, Outcome, Record, Task


class Breaking:
    """Meshes that break so many times before they open."""

    def __init__(self, times: int) -> None:
        self.left = times

    @asynccontextmanager
    async def open(self, corpus: Corpus, progress: Progress) -> AsyncIterator[Client]:
        if self.left:
            self.left -= 1
            raise Failure(Reason.SERVICE_UNAVAILABLE, "broke off")
        yield cast(Client, None)


def breaking(times: int) -> Meshes:
    return cast(Meshes, Breaking(times))


class Waiting:
    """A suite whose items of a task named `slow` never end."""

    name = "waiting"
    about = ""
    headline = ()

    def tasks(self, folder: Path) -> Iterable[Task]:
        return ()

    async def measure(self, mesh: Client, task: Task, item: Item) -> Outcome:
        if task.name == "slow":
            await asyncio.Event().wait()
        return Outcome({"right": 1.0})

    def pooled(self, records: Sequence[Record]) -> Mapping[str, float]:
        return {}


def chosen(name: str, size: int) -> Chosen:
    return Chosen(Waiting(), Task(name, [Item(f"{n}", {}) for n in range(5)], Corpus(name, tuple, size)))


async def test_a_run_ends_in_time_and_the_smallest_corpora_come_first(tmp_path: Path) -> None:
    run = Runs(tmp_path / "runs").begin({})
    tasks = [chosen("slow", 9), chosen("quick", 1)]
    await measure_all(tasks, run, breaking(0), Listener(), concurrency=2, limit_s=0.05)
    assert {record.task for record in run.records()} == {"quick"}


async def test_a_connection_that_broke_once_is_made_again(tmp_path: Path) -> None:
    run = Runs(tmp_path / "runs").begin({})
    await measure_all([chosen("quick", 1)], run, breaking(1), Listener(), concurrency=2)
    assert len(run.records()) == 5
    with pytest.raises(Failure):
        await measure_all([chosen("other", 1)], run, breaking(2), Listener(), concurrency=2)
