"""Processes that a benchmark starts: each says one line once it serves, and all are ended at the end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.gateway.parts import end

_START_S = 60.0


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
