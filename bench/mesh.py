"""A whole mesh on a fresh data folder, as `answermesh up` runs it: where it is, and what it takes."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from answermesh.cli.importing import collect
from answermesh.client import Client
from bench.processes import Processes

SAMPLES = Path("examples/documents")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Mesh:
    """Its addresses, and the supervisor, below which all others are."""

    grpc: str
    http: str
    pid: int


@asynccontextmanager
async def running_mesh(folder: Path, *options: str) -> AsyncIterator[Mesh]:
    """Run a mesh in a folder, with these options of `answermesh up`, to the end of the block."""
    ready = folder / "ready.json"
    command = ["-m", "answermesh.cli.main", "up", "--data", str(folder / "data"), "--ready-file", str(ready)]
    environ = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "ANSWERMESH_CONFIG")}
    environ["XDG_RUNTIME_DIR"] = str(folder)
    addresses = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
    async with Processes() as processes:
        await processes.start(*command, *addresses, *options, environ=environ, ready=ready)
        at = json.loads(ready.read_text())
        yield Mesh(at["grpc"], at["http"], processes.pids[0])


async def import_samples(mesh: Mesh) -> int:
    """Import the sample documents; how many there are."""
    files, _ = collect((SAMPLES,))
    async with Client(mesh.grpc) as client:
        async for response in client.import_paths(files, base=SAMPLES):
            assert not response.error.message, response
    return len(files)


def memory_mib(root: int) -> float:
    """Memory of a process and all below it, each shared page in equal parts to those who share it."""
    total_kib, waiting = 0, [root]
    while waiting:
        folder = Path(f"/proc/{waiting.pop()}")
        try:
            lines = (folder / "smaps_rollup").read_text().splitlines()
            total_kib += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            waiting += map(int, (folder / "task" / folder.name / "children").read_text().split())
        except OSError:
            continue
    return round(total_kib / 1024, 1)


def cpu_by_name(root: int) -> dict[str, float]:
    """Processor seconds of a mesh so far, by service; what has ended counts for what waited for it."""
    used: Counter[str] = Counter()
    waiting = [root]
    while waiting:
        folder = Path(f"/proc/{waiting.pop()}")
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            waiting += map(int, (folder / "task" / folder.name / "children").read_text().split())
        except OSError:
            continue
        used[_service(words)] += sum(map(int, fields[11:15])) / _TICKS  # type: ignore[assignment]  # Counter says int
    return dict(used)


def _service(words: list[str]) -> str:
    if "serve" in words:
        return words[words.index("serve") + 1]
    if "answermesh.knowledge.worker" in words:
        return "reader"
    return "postgres" if "postgres" in words[0] else "up"
