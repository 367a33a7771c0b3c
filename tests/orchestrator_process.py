"""Orchestrators in processes of their own, so that a test may kill or stop one, before agents that the test serves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from answermesh.rpc.channel import open_channel
from tests.mesh_process import BIN, until_there
from tests.scripted_agents import all_serving


@dataclass(frozen=True, slots=True)
class Orchestrator:
    """One orchestrator process."""

    address: str
    channel: grpc.aio.Channel
    process: asyncio.subprocess.Process

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def kill(self) -> None:
        """End it without a word."""
        self.signal(signal.SIGKILL)
        await self.process.wait()


@asynccontextmanager
async def orchestrator(
    dsn: str, folder: Path, agents: Mapping[str, str], more: str = ""
) -> AsyncIterator[Orchestrator]:
    """An orchestrator over these agents' targets, all serving; `more` is added to its settings file."""
    folder.mkdir(parents=True, exist_ok=True)
    config, ready, log_path = folder / "mesh.toml", folder / "ready.json", folder / "log"
    nowhere = "unix:/nonexistent/answermesh.sock"
    tables = "".join(f'[agents.{name}]\ntargets = ["{target}"]\n' for name, target in agents.items())
    config.write_text(f'[targets]\nknowledge = "{nowhere}"\nmodels = "{nowhere}"\n{tables}')
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            BIN / "answermesh",
            *("serve", "orchestrator", "--listen", "127.0.0.1:0", "--ready-file", ready, "--config", config),
            env={**os.environ, "DATABASE_URL": dsn},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            await until_there(ready, process, log_path)
            address = json.loads(ready.read_text())["address"]
            async with open_channel(address) as channel:
                await all_serving(channel, set(agents))
                yield Orchestrator(address, channel, process)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                await process.wait()
