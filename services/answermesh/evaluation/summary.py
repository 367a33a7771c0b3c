"""Records made figures: the mean of each metric with its interval, and two runs compared. Pure."""

from __future__ import annotations

import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from answermesh.evaluation.statistics import Difference, Estimate, difference, mean_of, pooled_of
from answermesh.evaluation.suite import Record, Suite

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Figures:
    """A task's figures."""

    suite: str
    task: str
    items: int
    failed: int
    # Median time of an item.
    duration_s: float
    metrics: Mapping[str, Estimate]


def figures(records: Sequence[Record], suites: Mapping[str, Suite]) -> list[Figures]:
    """The figures of each task, in the order of the records."""
    return [_task(*key, of, suites.get(key[0])) for key, of in _by_task(records).items()]


def _task(suite: str, task: str, records: Sequence[Record], kind: Suite | None) -> Figures:
    done = [record for record in records if not record.error]
    names = dict.fromkeys(name for record in done for name in record.metrics)
    metrics = {name: mean_of([record.metrics[name] for record in done if name in record.metrics]) for name in names}
    if kind is not None and done:
        metrics |= pooled_of(done, lambda drawn: dict(kind.pooled(drawn)))
    took_s = plain.median(record.duration_s for record in done) if done else 0.0
    return Figures(suite, task, len(records), len(records) - len(done), took_s, metrics)


def compared(first: Sequence[Record], second: Sequence[Record]) -> dict[Key, dict[str, Difference]]:
    """For each task and metric of both runs: second minus first over the items that both have measured."""
    found: dict[Key, dict[str, Difference]] = {}
    others = _by_task(second)
    for key, records in _by_task(first).items():
        theirs = {record.item: record.metrics for record in others.get(key, ()) if not record.error}
        pairs: dict[str, list[tuple[float, float]]] = {}
        for record in records:
            for name, value in record.metrics.items():
                if record.item in theirs and name in theirs[record.item]:
                    pairs.setdefault(name, []).append((value, theirs[record.item][name]))
        if pairs:
            found[key] = {name: difference(*zip(*both, strict=True)) for name, both in pairs.items()}
    return found


def _by_task(records: Sequence[Record]) -> dict[Key, list[Record]]:
    found: dict[Key, list[Record]] = {}
    for record in records:
        found.setdefault((record.suite, record.task), []).append(record)
    return found
