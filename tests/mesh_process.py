"""A real mesh of processes, started as a user starts it: `answermesh up` on kernel-chosen ports."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
# On a busy machine with two cores; an idle one takes about six seconds.
READY_S = 90.0


@dataclass(frozen=True, slots=True)
class Mesh:
    """The addresses of a running mesh, and its supervisor's process."""

    http: str
    grpc: str
    pid: int

    def pids(self) -> dict[str, int]:
        """Processes of the mesh by service."""
        return pids_of(self.pid)


def pids_of(supervisor: int) -> dict[str, int]:
    """Processes of a mesh by service; Postgres is "postgres", the second of a kind "KIND-2"."""
    found: dict[str, int] = {}
    for pid in sorted(children_of(supervisor)):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if "serve" in words:
            kind = words[words.index("serve") + 1]
            count = sum(name.partition("-")[0] == kind for name in found)
            found[kind if not count else f"{kind}-{count + 1}"] = pid
        elif words[0].endswith("/postgres"):
            found["postgres"] = pid
    return found


@asynccontextmanager
async def running_mesh(folder: Path, environ: Mapping[str, str] | None = None, *options: str) -> AsyncIterator[Mesh]:
    """Start a mesh in a folder; stops it at the end, and fails if it does not stop cleanly."""
    ready = folder / "ready.json"
    with (folder / "up.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            BIN / "answermesh",
            *("up", "--data", folder / "data", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"),
            *("--ready-file", ready, *options),
            env={**os.environ, **(environ or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            await until_there(ready, process, folder / "up.log")
            addresses = json.loads(ready.read_text())
            yield Mesh(addresses["http"], addresses["grpc"], process.pid)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                status = await process.wait()
    assert status == 0, (folder / "up.log").read_text()


async def run(*argv: str | Path, environ: Mapping[str, str] | None = None, timeout_s: float = 60.0) -> str:
    """Run a command to its end; its output. Fails with what it said where it does not end with 0."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        env={**os.environ, **(environ or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(timeout_s):
        out, err = await process.communicate()
    assert process.returncode == 0, f"{argv[0]} ended with {process.returncode}: {out.decode()}{err.decode()}"
    return out.decode()


async def until_there(ready: Path, process: asyncio.subprocess.Process, log: Path) -> None:
    """Wait for the file that a process writes when it is ready; fails with its log if it ends instead."""
    async with asyncio.timeout(READY_S):
        # The file is what the command promises; there is nothing to be woken by.
        while not ready.exists():
            assert process.returncode is None, log.read_text()
            await asyncio.sleep(0.05)


def children_of(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found
