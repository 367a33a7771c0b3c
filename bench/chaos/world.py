"""A mesh that may be hurt: Postgres, orchestrators, agents and a gateway, each started again when it dies.

Clients reach it through proxies whose connections can be cut.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from answermesh.errors import Failure
from answermesh.rpc.channel import join_targets, open_channel
from answermesh.store import EmbeddedPostgres
from answermesh.v1.mesh_pb2 import Agent
from answermesh.v1.mesh_service_pb2 import ListAgentsRequest
from answermesh.v1.mesh_service_pb2_grpc import MeshServiceStub
from bench.chaos.cutter import Cutter
from bench.chaos.team import PLAN, TEAM
from bench.gateway.parts import end

# A supervisor waits as long before it starts again what died.
RESTART_S = 0.1
READY_S = 180.0


@dataclass
class Kept:
    """A process that is started again whenever it dies."""

    name: str
    argv: Sequence[str]
    environ: Mapping[str, str]
    log: Path
    process: asyncio.subprocess.Process | None = None
    deaths: int = 0
    _stopped: bool = field(default=False)

    async def keep(self) -> None:
        """Run it until cancelled, which ends it."""
        try:
            while True:
                with self.log.open("ab") as log:
                    self.process = await asyncio.create_subprocess_exec(
                        sys.executable, *self.argv, env=self.environ, stdout=log, stderr=log
                    )
                await self.process.wait()
                self.deaths += 1
                await asyncio.sleep(RESTART_S)
        finally:
            if self.process is not None:
                self.signal(signal.SIGCONT)
                await end(self.process)

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)


@dataclass
class World:
    """The mesh, and the ways to it."""

    postgres: EmbeddedPostgres
    kept: dict[str, Kept]
    # Each orchestrator behind a proxy of its own, then the gateway.
    cutters: list[Cutter]
    orchestrators: list[str]
    grpc: list[str]
    http: str

    def names(self, kind: str) -> list[str]:
        """Processes of a kind: orchestrator, agent, gateway."""
        return [name for name in self.kept if name.startswith(kind)]

    async def well(self) -> None:
        """Wait until every orchestrator reaches every replica of every agent."""
        for address in self.orchestrators:
            async with asyncio.timeout(READY_S), open_channel(address) as channel:
                # What the mesh says of its agents is all there is to look at.
                while not await _all_serve(channel):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)


async def _all_serve(channel: object) -> bool:
    stub = MeshServiceStub(channel)  # type: ignore[arg-type]  # a channel of grpc.aio
    try:
        agents = (await stub.ListAgents(ListAgentsRequest(), timeout=5, wait_for_ready=True)).agents
    except Exception:  # whatever it is, it is not well
        return False
    well = {a.name for a in agents if all(one.health == Agent.HEALTH_SERVING for one in a.replicas)}
    return well == {f"agents/{name}" for name in TEAM}


@asynccontextmanager
async def world(
    folder: Path, *, orchestrators: int = 2, authors: int = 2, gateway: bool = True, resumes: bool = False
) -> AsyncIterator[World]:
    """A world in a folder; all processes are ended at the end.

    `authors` are replicas of the one that writes; each writes only what is not told yet where it `resumes`.
    """
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(EmbeddedPostgres(folder / "data", folder / "run"))
        agents = {name: [f"unix:{folder}/{name}-{n}.sock" for n in range(_replicas(name, authors))] for name in TEAM}
        config = folder / "mesh.toml"
        tables = "".join(f"[agents.{name}]\ntargets = {json.dumps(targets)}\n" for name, targets in agents.items())
        nowhere = "unix:/nonexistent/service.sock"
        config.write_text(f'[targets]\nknowledge = "{nowhere}"\nmodels = "{nowhere}"\n{tables}{PLAN}')
        environ = {
            **os.environ,
            "DATABASE_URL": postgres.dsn,
            "ANSWERMESH_LOG_LEVEL": "warning",
            # Installed programs are compiled already; one compiled anew at each start takes twice as long to be back.
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        }
        listening = [f"127.0.0.1:{free_port()}" for _ in range(orchestrators)]
        http = f"127.0.0.1:{free_port()}"
        serve = ("-m", "answermesh.cli.main", "serve")
        commands: dict[str, Sequence[str]] = {
            f"agent-{name}-{number}": (
                "-m",
                "bench.chaos.team",
                f"resuming-{name}" if resumes and name == "author" else name,
                target,
            )
            for name, targets in agents.items()
            for number, target in enumerate(targets)
        }
        for number, address in enumerate(listening):
            commands[f"orchestrator-{number}"] = (*serve, "orchestrator", "--listen", address, "--config", str(config))
        if gateway:
            environ["ANSWERMESH_TARGET_ORCHESTRATOR"] = join_targets(listening)
            commands["gateway"] = (*serve, "gateway", "--listen", http)
        kept = {name: Kept(name, argv, environ, folder / f"{name}.log") for name, argv in commands.items()}
        cutters = [await stack.enter_async_context(Cutter.before(address)) for address in (*listening, http)]
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        keepers = [tasks.create_task(one.keep()) for one in kept.values()]
        keepers.append(tasks.create_task(_keep_postgres(postgres)))
        try:
            made = World(postgres, kept, cutters, listening, [c.address for c in cutters[:-1]], cutters[-1].address)
            await made.well()
            yield made
        finally:
            for keeper in keepers:
                keeper.cancel()


def _replicas(name: str, authors: int) -> int:
    return authors if name == "author" else 1


async def _keep_postgres(postgres: EmbeddedPostgres) -> None:
    while True:
        await postgres.wait()
        await asyncio.sleep(RESTART_S)
        with suppress(Failure):
            await postgres.restart()


def free_port() -> int:
    """A port that nobody listens on now, and that no outgoing connection is given."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
