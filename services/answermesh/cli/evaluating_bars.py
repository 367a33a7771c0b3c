"""What `eval` shows while it runs: a bar for the documents of a corpus, a bar for each task."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from answermesh.evaluation.running import Listener
from answermesh.evaluation.suite import Corpus, Task


class Bars(Listener):
    """Tells on stderr; where that is no terminal, a line for each tenth."""

    def __init__(self) -> None:
        console = Console(stderr=True, highlight=False)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._tasks: dict[str, TaskID] = {}
        self._lines = not console.is_terminal
        self._tenths: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def importing(self, corpus: Corpus, done: int) -> None:
        self._show(f"documents of {corpus.key}", done, corpus.size)

    def measured(self, suite: str, task: Task, done: int) -> None:
        self._show(f"{suite} {task.name}", done, len(task.items))

    def _show(self, what: str, done: int, total: int) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(escape(what), total=total)
        self._progress.update(self._tasks[what], completed=done)
        tenth = 10 * done // total if total else 10
        if self._lines and done and self._tenths.get(what) != tenth:
            self._tenths[what] = tenth
            click.echo(f"{what}: {done} of {total}", err=True)
