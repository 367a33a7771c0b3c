"""What `up` shows: a bar for each download, a line for each thing that happens."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import rich.console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.text import Text

from answermesh.cli.printable import printable
from answermesh.serve.mesh_file import RunningMesh
from answermesh.serve.up import Listener


class Console(Listener):
    """Tells on stderr; stdout stays empty."""

    def __init__(self) -> None:
        self._console = rich.console.Console(stderr=True, highlight=False)
        columns = (TextColumn("Fetching {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self.happened("Starting the mesh …")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if error is None:
            self.happened("The mesh has stopped.")

    def fetching(self, package: str, done_bytes: int, total_bytes: int) -> None:
        if package not in self._tasks:
            self._progress.start()
            self._tasks[package] = self._progress.add_task(package, total=total_bytes)
        self._progress.update(self._tasks[package], completed=done_bytes, total=total_bytes)

    def happened(self, sentence: str) -> None:
        self._console.print(Text(printable(sentence)))

    def ready(self, mesh: RunningMesh, took_s: float) -> None:
        self._progress.stop()
        self.happened(f"Ready after {took_s:.1f} s.")
        self.happened(f"  HTTP  http://{mesh.http}   (documentation: http://{mesh.http}/docs)")
        self.happened(f"  gRPC  {mesh.grpc}")
        self.happened('Next: answermesh import PATH, then answermesh ask "…". Ctrl-C stops it.')
