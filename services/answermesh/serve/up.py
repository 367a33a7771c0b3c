"""A whole mesh on one machine: the files of the models, Postgres, one process per service, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from answermesh.config import Settings
from answermesh.serve import layout, local_llm, mesh_file
from answermesh.serve.addresses import check_listen
from answermesh.serve.claim import claimed
from answermesh.serve.failures import first_failure
from answermesh.serve.mesh_file import RunningMesh
from answermesh.serve.readiness import wait_until_well
from answermesh.serve.stopping import reload_signal, stop_signals
from answermesh.serve.supervisor import Supervisor

# From the first process to the last agent's first heartbeat, on a machine that is busy with something else.
READY_WAIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What `up` was asked for."""

    settings: Settings
    http: str
    # One orchestrator listens at each.
    grpc: tuple[str, ...]
    ready_file: Path | None = None
    # The settings file that `settings` came from.
    config: Path | None = None
    # GGUF file of a language model that runs beside the mesh.
    gguf: Path | None = None
    # Processes of each agent that has more than one.
    replicas: Mapping[str, int] = field(default_factory=dict)
    # Agents that share a process.
    packs: tuple[tuple[str, ...], ...] = ()


class Listener:
    """What a person at the terminal is told; this one tells nothing."""

    def fetching(self, package: str, done_bytes: int, total_bytes: int) -> None:
        """Model files are downloaded; called from another thread."""

    def happened(self, sentence: str) -> None:
        """Something that the person may want to know."""

    def ready(self, mesh: RunningMesh, took_s: float) -> None:
        """The mesh answers."""


async def up(plan: Plan, listener: Listener, *, stop: asyncio.Event | None = None) -> None:
    """Run a mesh until SIGINT, SIGTERM or `stop`; then stop all of it, the gateway first, Postgres last.

    Raises Failure where it cannot be started; nothing is left running then.
    """
    started_s = time.monotonic()
    check_listen("--http", plan.http)
    for address in plan.grpc:
        check_listen("--grpc", address)
    with stop_signals() as told, claimed(plan.settings.data_dir) as run_dir:
        running = asyncio.ensure_future(_run(plan, run_dir, listener, started_s))
        waits = [asyncio.ensure_future(event.wait()) for event in (told, stop) if event is not None]
        try:
            await asyncio.wait([running, *waits], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (running, *waits):
                task.cancel()
            # Stopping is bounded by each process's own limit; a second signal ends this process at once.
            await asyncio.wait([running, *waits])
        if not running.cancelled():
            running.result()


async def _run(plan: Plan, run_dir: Path, listener: Listener, started_s: float) -> None:
    await _fetch(plan.settings, listener)
    env = {"ANSWERMESH_DATA_DIR": str(plan.settings.data_dir), "ANSWERMESH_CACHE_DIR": str(plan.settings.cache_dir)}
    if plan.config:
        env["ANSWERMESH_CONFIG"] = str(plan.config)
    if plan.gguf:
        env[local_llm.KEY_VARIABLE] = secrets.token_urlsafe(24)
    supervisor = Supervisor(run_dir, plan.settings.data_dir / "logs", env, listener.happened, plan.replicas)
    agents_need = (layout.SETTINGS,) if plan.gguf else ()
    try:
        async with asyncio.TaskGroup() as group:
            # All at once; who needs another's address waits for it.
            started = [[group.create_task(_keep_database(plan, run_dir, supervisor))]]
            if plan.gguf:
                started.append(
                    [
                        group.create_task(supervisor.keep(_llm(plan.gguf))),
                        group.create_task(_settings(plan, run_dir, supervisor)),
                    ]
                )
            services = layout.services(run_dir, plan.http, plan.grpc, agents_need, plan.replicas, plan.packs)
            started += [[group.create_task(supervisor.keep(service)) for service in some] for some in services]
            try:
                http = await supervisor.address("gateway")
                grpc = [await supervisor.address(name) for name in layout.orchestrators(len(plan.grpc))]
                for address in grpc:
                    for missing in await wait_until_well(address, READY_WAIT_S):
                        listener.happened(f"Not there yet: {missing}")
                mesh = RunningMesh(http, ",".join(grpc), os.getpid(), str(run_dir))
                with _announced(mesh, plan):
                    listener.ready(mesh, time.monotonic() - started_s)
                    # Until cancelled, or until a task of the group fails.
                    await _roll_when_told(supervisor, services)
            finally:
                for tasks in reversed(started):
                    for task in tasks:
                        task.cancel()
                    await asyncio.wait(tasks)
    except BaseExceptionGroup as errors:
        raise first_failure(errors) from errors


async def _roll_when_told(supervisor: Supervisor, services: Sequence[Sequence[layout.Service]]) -> None:
    """Replace all services, one after the other, whenever SIGHUP comes; they read their settings anew."""
    with reload_signal() as told:
        while True:
            await told.wait()
            told.clear()
            await supervisor.roll(services)


async def _fetch(settings: Settings, listener: Listener) -> None:
    from answermesh.models.fetch import ensure
    from answermesh.models.manifest import EMBEDDED

    await asyncio.to_thread(ensure, settings.cache_dir, EMBEDDED, listener.fetching)


async def _keep_database(plan: Plan, run_dir: Path, supervisor: Supervisor) -> None:
    if plan.settings.database_url:
        supervisor.know(layout.DATABASE, plan.settings.database_url)
        return
    from answermesh.store import EmbeddedPostgres

    async with EmbeddedPostgres(plan.settings.data_dir, run_dir) as postgres:
        supervisor.know(layout.DATABASE, postgres.dsn)
        await supervisor.keep_database(postgres)


def _llm(gguf: Path) -> layout.Service:
    return layout.Service(local_llm.SERVICE, "127.0.0.1:0", options=("--gguf", str(gguf)))


async def _settings(plan: Plan, run_dir: Path, supervisor: Supervisor) -> None:
    """Tell the agents of the language model as soon as its port is known; a restart keeps the port."""
    assert plan.gguf is not None
    address = await supervisor.address(local_llm.SERVICE)
    path = run_dir / "settings.toml"
    path.write_text(local_llm.settings_with(plan.config, address, plan.gguf.stem), encoding="utf-8")
    supervisor.know(layout.SETTINGS, str(path))


@contextmanager
def _announced(mesh: RunningMesh, plan: Plan) -> Iterator[None]:
    mesh_file.announce(mesh, plan.settings.data_dir)
    if plan.ready_file:
        mesh_file.write_json(plan.ready_file, {"http": mesh.http, "grpc": mesh.grpc})
    try:
        yield
    finally:
        mesh_file.withdraw(mesh, plan.settings.data_dir)
        if plan.ready_file:
            plan.ready_file.unlink(missing_ok=True)
