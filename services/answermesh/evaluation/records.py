"""What runs have measured: a folder for each, with a line for each item.

<folder>/<run>/run.json         when, with what options
<folder>/<run>/records.jsonl    one record a line, written as each item is done
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from answermesh.errors import Failure, Reason, not_found
from answermesh.evaluation.suite import Record


@dataclass(frozen=True, slots=True)
class Run:
    """One run, and the folder that it is kept in."""

    folder: Path
    name: str
    started: str
    # As given on the command line: suites, data, limit, llm.
    options: dict[str, Any]

    def add(self, record: Record) -> None:
        """Keep a record: a run that is killed has lost the items that were under way, and no other."""
        line = json.dumps(asdict(record), ensure_ascii=False)
        with (self.folder / "records.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(line + "\n")

    def records(self) -> list[Record]:
        """The last record of each item, in the order of the first."""
        found: dict[tuple[str, str, str], Record] = {}
        path = self.folder / "records.jsonl"
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    record = Record(**json.loads(line))
                except (ValueError, TypeError):
                    # The line that a kill cut short.
                    continue
                found[record.suite, record.task, record.item] = record
        return list(found.values())


class Runs:
    """All runs of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, options: dict[str, Any]) -> Run:
        """Make a new run, named by its time."""
        now = datetime.now(UTC)
        while (self.folder / (name := now.strftime("%Y%m%d-%H%M%S-%f")[:-3])).exists():
            now += timedelta(milliseconds=1)
        folder = self.folder / name
        folder.mkdir(parents=True)
        run = Run(folder, name, now.isoformat(timespec="seconds"), options)
        (folder / "run.json").write_text(json.dumps({"started": run.started, "options": options}, indent=1) + "\n")
        return run

    def __iter__(self) -> Iterator[Run]:
        """Newest first."""
        for path in sorted(self.folder.glob("*/run.json"), reverse=True):
            about = json.loads(path.read_text(encoding="utf-8"))
            yield Run(path.parent, path.parent.name, about["started"], about["options"])

    def get(self, name: str) -> Run:
        """The run of that name; "last" is the newest. Raises Failure(NOT_FOUND)."""
        for run in self:
            if name in ("last", run.name):
                return run
        if name == "last":
            raise Failure(Reason.NOT_FOUND, "Nothing was evaluated yet; run `answermesh eval SUITE`.")
        raise not_found(name)

    def forget(self, name: str) -> None:
        """Delete a run. Raises Failure(NOT_FOUND)."""
        shutil.rmtree(self.get(name).folder)
