"""Counts of several processes on one address: each writes its own to a file of a shared folder, and reads the others'.

A file belongs to a place, not to a process: who takes the place of a process that died goes on from its counts, so that
no counter ever goes backwards. What was shown to a scrape was written before.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import orjson

from answermesh.gateway.telemetry.counts import Snapshot

# How old the counts of another process may be.
WRITE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Shared:
    """A place among the processes, numbered from 0."""

    folder: Path
    place: int

    def before(self) -> Snapshot:
        """What was last written at this place; empty for a first process."""
        return _read(self._file)

    def others(self) -> list[Snapshot]:
        """What the processes of the other places wrote last."""
        return [_read(path) for path in sorted(self.folder.glob("*.json")) if path != self._file]

    def write(self, snapshot: Snapshot) -> None:
        """Replace the file in one step; a reader sees the old or the new."""
        temporary = self._file.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(orjson.dumps(snapshot))
        temporary.replace(self._file)

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.place}.json"


def _read(path: Path) -> Snapshot:
    try:
        found: Snapshot = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found
