"""The systems measured, each in processes of its own: raw grpc.aio, and answermesh by its public API."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc
import grpc_tools

from answermesh.rpc.channel import open_channel
from answermesh.store import EmbeddedPostgres
from answermesh.v1 import query_service_pb2 as pb
from answermesh.v1.mesh_pb2 import Agent
from answermesh.v1.mesh_service_pb2 import WatchMeshRequest
from answermesh.v1.mesh_service_pb2_grpc import MeshServiceStub
from answermesh.v1.query_pb2 import Query
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from bench.fanout.workload import AGENTS, TEXT, WAIT_S
from bench.processes import Processes

HERE = Path(__file__).parent
DEADLINE_S = 30.0
# Asks one question whose agents tell so many parts each, and checks the answer.
Ask = Callable[[int], Awaitable[None]]
DURABILITIES = {
    "durable": pb.AskRequest.DURABILITY_DURABLE,
    "ephemeral": pb.AskRequest.DURABILITY_EPHEMERAL,
}
# What connects to a system that serves: gRPC must not be in use while processes are forked.
Connect = Callable[[str], AbstractAsyncContextManager[Ask]]


@asynccontextmanager
async def raw(processes: Processes) -> AsyncIterator[Connect]:
    """The ceiling."""
    with tempfile.TemporaryDirectory() as stubs:
        command = [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{HERE}",
            f"-I{Path(grpc_tools.__file__).parent}/_proto",
        ]
        outputs = [f"--python_out={stubs}", f"--grpc_python_out={stubs}", str(HERE / "fanout.proto")]
        made = await asyncio.create_subprocess_exec(*command, *outputs)
        assert await made.wait() == 0
        sys.path.insert(0, stubs)
        roles = ("-m", "bench.fanout.raw", stubs)
        ports = [await processes.start(*roles, "agent", name) for name in AGENTS]
        port = await processes.start(*roles, "orchestrator", *ports)
        yield lambda _: _raw_asking(port)


@asynccontextmanager
async def _raw_asking(port: str) -> AsyncIterator[Ask]:
    import fanout_pb2
    import fanout_pb2_grpc

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = fanout_pb2_grpc.RawOrchestratorStub(channel)

        async def ask(chunks: int) -> None:
            question = fanout_pb2.Question(wait_ms=round(WAIT_S * 1e3), chunks=chunks)
            total = 0
            async for answer in stub.Ask(question, timeout=DEADLINE_S):
                total = answer.total
            assert total == chunks * len(AGENTS), total

        yield ask


@asynccontextmanager
async def mesh(processes: Processes) -> AsyncIterator[Connect]:
    """answermesh: Postgres, an orchestrator, five agents on its wrapper."""
    with tempfile.TemporaryDirectory(prefix="fanout-") as name:
        folder = Path(name)
        async with EmbeddedPostgres(folder / "data", folder / "run") as postgres:
            agents = {agent: await processes.start("-m", "bench.fanout.agent", agent) for agent in AGENTS}
            address = await orchestrator(processes, folder, agents, postgres.dsn)
            yield lambda system: _asking(address, DURABILITIES[system])


@asynccontextmanager
async def _asking(address: str, durability: pb.AskRequest.Durability.ValueType) -> AsyncIterator[Ask]:
    async with open_channel(address) as channel:
        await all_serving(channel)
        stub = QueryServiceStub(channel)

        async def ask(chunks: int) -> None:
            question = f"{chunks} parts of each, please"
            request = pb.AskRequest(question=question, plan="fanout", durability=durability, batched=True)
            found, sequence, final = 0, 0, Query()
            async for response in stub.Ask(request, timeout=DEADLINE_S):
                for event in (response.event, *response.more):
                    if event.HasField("heartbeat"):
                        continue
                    sequence += 1
                    assert event.sequence == sequence, (event.sequence, sequence)
                    match event.WhichOneof("event"):
                        case "finding":
                            found += event.finding.HasField("note")
                        case "query_ended":
                            final = event.query_ended
            assert final.state == Query.STATE_SUCCEEDED, final
            # The author's parts are text, which may come in larger pieces.
            assert (found, len(final.answer.text)) == (chunks * (len(AGENTS) - 1), chunks * len(TEXT)), final

        yield ask


async def orchestrator(processes: Processes, folder: Path, agents: Mapping[str, str], dsn: str) -> str:
    """Start an orchestrator whose plan "fanout" has these agents at their addresses; returns its own."""
    lines = ["[plans.fanout]", "join = false", *(f"[plans.fanout.agents.{agent}]" for agent in agents)]
    for agent, address in agents.items():
        lines += [f"[agents.{agent}]", f'targets = ["{address}"]']
    lines += ["[targets]", 'knowledge = "unix:/nonexistent/knowledge"', 'models = "unix:/nonexistent/models"']
    config, ready = folder / "settings.toml", folder / "ready.json"
    config.write_text("\n".join(lines))
    command = ["-m", "answermesh.cli.main", "serve", "orchestrator", "--listen", "127.0.0.1:0"]
    environ = {**os.environ, "DATABASE_URL": dsn, "ANSWERMESH_LOG_LEVEL": "error"}
    await processes.start(*command, "--config", str(config), "--ready-file", str(ready), environ=environ, ready=ready)
    return str(json.loads(ready.read_text())["address"])


async def all_serving(channel: grpc.aio.Channel, agents: Iterable[str] = AGENTS) -> None:
    """Wait until these agents serve."""
    wanted = set(agents)
    call = MeshServiceStub(channel).WatchMesh(WatchMeshRequest(), timeout=DEADLINE_S)
    try:
        async for response in call:
            if response.agent.health == Agent.HEALTH_SERVING:
                wanted.discard(response.agent.name.removeprefix("agents/"))
            if not wanted:
                return
    finally:
        call.cancel()
