"""Processes that a benchmark starts: each says one line once it serves, and all are ended at the end."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.gateway.parts import end

_START_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Processes:
    """Started within `async with`; leaving it ends them, the last one first."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self.pids: list[int] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def start(self, *words: str, environ: Mapping[str, str] | None = None, ready: Path | None = None) -> str:
        """Start `python WORDS`; returns the first line that it prints, or nothing once it has written `ready`."""
        output = subprocess.PIPE if ready is None else subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=output, env=environ)
        self._stack.push_async_callback(end, process)
        self.pids.append(process.pid)
        async with asyncio.timeout(_START_S):
            if process.stdout is not None:
                line = (await process.stdout.readline()).decode().strip()
            else:
                line = await _written(ready, process)
        if process.returncode is not None:
            raise SystemExit(f"{' '.join(words)} ended before it served")
        return line


async def _written(ready: Path | None, process: asyncio.subprocess.Process) -> str:
    # Nothing tells when the file is there.
    while ready is not None and not ready.exists() and process.returncode is None:  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.05)
    return ""


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


@asynccontextmanager
async def running_mesh(folder: Path, *options: str) -> AsyncIterator[tuple[str, int]]:
    """Address and process id of `answermesh up` on a fresh data folder, which ends with the block."""
    ready = folder / "ready.json"
    command = ["-m", "answermesh.cli.main", "up", "--data", str(folder / "data"), "--ready-file", str(ready)]
    environ = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "ANSWERMESH_CONFIG")}
    environ["XDG_RUNTIME_DIR"] = str(folder)
    async with Processes() as processes:
        addresses = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
        await processes.start(*command, *addresses, *options, environ=environ, ready=ready)
        yield json.loads(ready.read_text())["grpc"], processes.pids[0]


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
