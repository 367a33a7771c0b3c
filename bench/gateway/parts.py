"""What the benchmark and the soak run: stubs, backend servers and the gateway, all processes of their own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
_START_S = 60.0
_STOP_S = 15.0


def generate(folder: Path) -> Path:
    """Stubs of load.proto in the folder; its descriptor set."""
    import google.api
    import grpc_tools

    include = Path(next(iter(google.api.__path__))).parent.parent
    own = Path(grpc_tools.__path__[0]) / "_proto"
    found = folder / "load.binpb"
    outputs = [f"--python_out={folder}", f"--grpc_python_out={folder}", "--include_imports"]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{HERE}", f"-I{include}", f"-I{own}", *outputs]
    subprocess.run([*command, f"--descriptor_set_out={found}", str(HERE / "load.proto")], check=True)
    return found


@dataclass
class Server:
    """A backend process and its port."""

    process: asyncio.subprocess.Process
    port: int


async def start_backend(folder: Path, kind: str, port: int = 0, max_age_s: float = 0.0, *pinned: str) -> Server:
    """A backend that serves."""
    command = [*pinned, sys.executable, str(HERE / "backend.py"), str(folder), kind, str(port), str(max_age_s)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(_START_S):
        return Server(process, int(await process.stdout.readline()))


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process, by force if it does not go."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@asynccontextmanager
async def backend(folder: Path, kind: str, max_age_s: float = 0.0, *pinned: str) -> AsyncIterator[Server]:
    """A backend as long as the context lasts."""
    server = await start_backend(folder, kind, 0, max_age_s, *pinned)
    try:
        yield server
    finally:
        if server.process.returncode is None:
            server.process.kill()
        await server.process.wait()


@asynccontextmanager
async def gateway(folder: Path, *options: str, pinned: tuple[str, ...] = ()) -> AsyncIterator[tuple[str, int]]:
    """`answermesh gateway` with these options; its address and process id."""
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    fixed = ["--listen", "127.0.0.1:0", "--ready-file", str(ready), "--log-level", "error"]
    command = [*pinned, sys.executable, "-m", "answermesh.cli.main", "gateway", *fixed, *options]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        async with asyncio.timeout(_START_S):
            while not ready.exists():
                if process.returncode is not None:
                    raise SystemExit(f"the gateway ended at its start with code {process.returncode}")
                await asyncio.sleep(0.05)
        yield json.loads(ready.read_text())["address"], process.pid
    finally:
        await end(process)
