"""One service in this process, or several agents, from its start to SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from answermesh.config import AGENTS, Settings
from answermesh.serve import local_llm
from answermesh.serve.failures import first_failure
from answermesh.serve.mesh_file import write_json
from answermesh.serve.stopping import stop_signals

if TYPE_CHECKING:
    from answermesh.rpc.server import Server

_log = logging.getLogger(__name__)
# Objects made since the last look for cycles; Python's own 700 would be one look for every few requests.
_YOUNG = 20_000


def serve_one(
    service: str,
    listen: str,
    settings: Settings,
    *,
    ready_file: Path | None,
    ready_fd: int | None,
    gguf: Path | None = None,
    listen_fd: int | None = None,
    shares_port: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; the second signal ends the process at once.

    `service` may name several agents with commas between, `listen` then an address for each. When all is ready,
    {"address": …} is written to `ready_file`, and the address alone to `ready_fd`. `listen_fd` is a socket that the
    parent holds, for the gateway.
    Raises Failure where it cannot be started.
    """
    told = ready_teller(service, ready_file, ready_fd)
    match service:
        case "gateway":
            serving = _serve_gateway(listen, listen_fd, settings, told)
        case local_llm.SERVICE:
            serving = local_llm.serve_llm(listen, local_llm.model_of(settings, gguf), told)
        case _:
            serving = _serve(service.split(","), listen.split(","), settings, told, shares_port=shares_port)
    run_to_end(service, serving)


def ready_teller(service: str, ready_file: Path | None, ready_fd: int | None) -> Callable[[str], None]:
    """What tells those who wait for the service at which address it serves."""

    def ready(address: str) -> None:
        _settle()
        _log.info("%s is ready at %s", service, address)
        if ready_file:
            write_json(ready_file, {"address": address})
        if ready_fd is not None:
            os.write(ready_fd, f"{address}\n".encode())
            os.close(ready_fd)

    return ready


def _settle() -> None:
    """Spare the garbage collector what stays: modules and plans. What is per request dies without its help."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 20)


def run_to_end(service: str, serving: Coroutine[None, None, None]) -> None:
    """Run a service in this process, on uvloop. Raises the Failure that ended it."""
    # Here, since most commands have no loop to speed up.
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_failing_plainly(serving))
    _log.info("%s has stopped", service)


async def _serve(
    services: Sequence[str],
    listen: Sequence[str],
    settings: Settings,
    ready: Callable[[str], None],
    *,
    shares_port: bool,
) -> None:
    from answermesh.rpc.server import Server

    with stop_signals() as stop:
        servers = [Server(address, tenant=settings.tenant, shares_port=shares_port) for address in listen]
        async with AsyncExitStack() as stack:
            for service, server in zip(services, servers, strict=True):
                await stack.enter_async_context(_mounted(service, server, settings))
            try:
                ready(",".join([await server.start() for server in servers]))
                await stop.wait()
            finally:
                async with asyncio.TaskGroup() as draining:
                    for server in servers:
                        draining.create_task(server.drain())


def _mounted(service: str, server: Server, settings: Settings) -> AbstractAsyncContextManager[None]:
    if service in AGENTS:
        from answermesh.agents.serving.service import mount_agent

        return mount_agent(server, settings, service)
    if service == "knowledge" and settings.embedding:
        return knowledge_with_provider(server, settings)
    # By name: a process must not load the parts of the others.
    mounted: AbstractAsyncContextManager[None] = import_module(f"answermesh.{service}.service").mount(server, settings)
    return mounted


@asynccontextmanager
async def knowledge_with_provider(server: Server, settings: Settings) -> AsyncIterator[None]:
    """The knowledge service with vectors of a provider; joined here, since knowledge and llm do not know each other."""
    from answermesh.knowledge.embedder import ProvidedEmbedder
    from answermesh.knowledge.service import mount
    from answermesh.llm import Embeddings, Ledger

    embeddings = Embeddings.from_settings(settings)
    assert embeddings is not None, "the table embedding is set"

    async def vectors(texts: Sequence[str]) -> list[list[float]]:
        # Imports and searches belong to no query, so nobody asks for this ledger.
        return await embeddings.embed(texts, Ledger())

    async with AsyncExitStack() as stack:
        stack.push_async_callback(embeddings.aclose)
        embedder = ProvidedEmbedder(embeddings.model, embeddings.dimensions, vectors)
        await stack.enter_async_context(mount(server, settings, embedder=embedder))
        yield


async def _serve_gateway(listen: str, listen_fd: int | None, settings: Settings, ready: Callable[[str], None]) -> None:
    from answermesh.gateway.service import own_setup
    from answermesh.serve.gateway import serve_alone

    await serve_alone(own_setup(settings.target("orchestrator")), listen, ready, listen_fd)


async def _failing_plainly(work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except BaseExceptionGroup as errors:
        raise first_failure(errors) from errors
