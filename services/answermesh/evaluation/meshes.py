"""A mesh that holds one corpus: started on a folder of its own, filled once, kept for the next run.

Figures are only worth something if nothing else is in the index, so an evaluation does not share a mesh with anybody,
unless it is told an address. What is measured is the whole mesh all the same: its processes, through its API.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from answermesh.client import Client, failure_of
from answermesh.errors import Failure, Reason
from answermesh.evaluation.suite import Corpus
from answermesh.typed.answermesh import v1

# From the first process to the last agent's first heartbeat, on a machine that is busy; longer fetches models.
_READY_S = 300.0
_STOP_S = 60.0
_POLL_S = 0.1
# Of one call; an answer by a small model on two cores takes minutes.
_CALL_S = 300.0

# Documents done.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Meshes:
    """Where meshes come from: `address` names one that runs, else each corpus gets its own below `folder`."""

    folder: Path
    address: str = ""
    # Passed to `answermesh up`: "--local-llm", or "--gguf" and its file.
    options: tuple[str, ...] = ()
    # Settings file of the meshes; None for none, whatever the environment names.
    config: Path | None = None

    @asynccontextmanager
    async def open(self, corpus: Corpus, progress: Progress) -> AsyncIterator[Client]:
        """A mesh with the corpus in it.

        Raises Failure(SERVICE_UNAVAILABLE) where it does not start, and that of a document that is not taken.
        """
        if self.address:
            async with Client(self.address, timeout_s=_CALL_S) as mesh:
                await _fill(mesh, corpus, progress)
                yield mesh
            return
        folder = self.folder / corpus.key
        folder.mkdir(parents=True, exist_ok=True)
        async with running(folder, self.options, self.config) as address, Client(address, timeout_s=_CALL_S) as mesh:
            await _fill(mesh, corpus, progress)
            yield mesh


async def _fill(mesh: Client, corpus: Corpus, progress: Progress) -> None:
    """Import the corpus; what the mesh has already costs a look each."""
    documents = (
        (v1.Document(uri=one.uri, title=one.title, media_type=one.media_type), one.content)
        for one in corpus.documents()
    )
    done = 0
    async with aclosing(mesh.import_documents(documents)) as responses:
        async for response in responses:
            if response.outcome == v1.ImportDocumentsResponseOutcome.OUTCOME_FAILED:
                raise failure_of(response.error)
            if response.outcome != v1.ImportDocumentsResponseOutcome.OUTCOME_PROGRESS:
                done += 1
                progress(done)


@asynccontextmanager
async def running(folder: Path, options: tuple[str, ...], config: Path | None) -> AsyncIterator[str]:
    """The address of a mesh on a folder, which ends with the block."""
    environ = {key: value for key, value in os.environ.items() if key != "ANSWERMESH_CONFIG"}
    with tempfile.TemporaryDirectory(prefix="answermesh-eval-") as scratch:
        ready, log = Path(scratch) / "ready.json", folder / "up.log"
        # So that no command of the user's finds this mesh and takes it for theirs.
        environ |= {"XDG_RUNTIME_DIR": scratch, "XDG_STATE_HOME": scratch}
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "answermesh.cli.main", "up", "--data", folder / "mesh"),
                *("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ready-file", ready),
                # However an evaluation ends, its mesh does not stay behind.
                *("--with-parent", str(os.getpid())),
                *(("--config", config) if config else ()),
                *options,
                env=environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            yield await _address(ready, process, log)
        finally:
            await _stop(process)


async def _address(ready: Path, process: asyncio.subprocess.Process, log: Path) -> str:
    try:
        async with asyncio.timeout(_READY_S):
            # The file is what the command promises; there is nothing to be woken by.
            while process.returncode is None:
                if address := _told(ready):
                    return address
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        pass
    raise Failure(Reason.SERVICE_UNAVAILABLE, f"The mesh of this evaluation does not start: {_end_of(log)}")


def _told(ready: Path) -> str:
    return str(json.loads(ready.read_text(encoding="utf-8"))["grpc"]) if ready.exists() else ""


def _end_of(log: Path) -> str:
    return " ".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:])


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
