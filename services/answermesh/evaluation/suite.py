"""What a suite is: tasks made of items, and how one item is measured on a mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from answermesh.client import Client


@dataclass(frozen=True, slots=True)
class Source:
    """A document of a corpus, as it is imported."""

    uri: str
    content: bytes
    title: str = ""
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The documents that a task is measured over, and nothing else."""

    # Names the folder of the mesh that holds them: other documents, another key.
    key: str
    # Read when they are needed, one after the other.
    documents: Callable[[], Iterable[Source]]
    size: int


# Of tasks that need no documents.
NO_DOCUMENTS = Corpus("empty", tuple, 0)


@dataclass(frozen=True, slots=True)
class Item:
    """What is measured at once: a question, a claim, a file. `row` is as its set gives it."""

    id: str
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """A set of items over one corpus; `name` is the set's, with what is asked of it where there are several."""

    name: str
    items: Sequence[Item]
    corpus: Corpus = NO_DOCUMENTS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an item. A metric that says nothing about it is left out; `details` are for those who look why."""

    metrics: Mapping[str, float]
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """An outcome as it is kept. `error` is why there is none; such an item is measured again when the run goes on."""

    suite: str
    task: str
    item: str
    duration_s: float
    metrics: Mapping[str, float]
    details: Mapping[str, Any]
    error: str = ""


class Suite(Protocol):
    """One kind of quality. Has no state of its own: a run may stop after any item and go on in another process."""

    name: str
    # One sentence.
    about: str
    # Metrics that a report shows first.
    headline: tuple[str, ...]

    def tasks(self, folder: Path) -> Iterable[Task]:
        """The tasks that the sets of a folder allow; none where no set fits."""
        ...

    async def measure(self, mesh: Client, task: Task, item: Item) -> Outcome:
        """Measure one item on a mesh that holds the task's corpus. Raises what the client raises."""
        ...

    def pooled(self, records: Sequence[Record]) -> Mapping[str, float]:
        """Metrics of all records of a task that are no mean over items, such as F1 by class; {} for none."""
        ...
