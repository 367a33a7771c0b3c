"""A gateway served: its upstreams opened, their schema followed, requests answered and counted, until cancelled."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib import resources

from answermesh.config import Settings
from answermesh.errors import invalid_field
from answermesh.gateway.application import Gateway
from answermesh.gateway.descriptors.schema import SchemaError
from answermesh.gateway.http.listener import bind
from answermesh.gateway.http.server import Server
from answermesh.gateway.options import Options
from answermesh.gateway.plan import Resume
from answermesh.gateway.setup import Member, Reach, Setup
from answermesh.gateway.source import Asked, SchemaSource
from answermesh.gateway.telemetry.observer import Observer
from answermesh.gateway.telemetry.sharing import Shared
from answermesh.gateway.transcoding.native import check_native
from answermesh.gateway.upstream.by_service import ByService
from answermesh.gateway.upstream.opening import open_upstream

# Streams of events: their sequence is the SSE id; a watch goes on after the id that a browser says it saw last.
RESUMES = {
    "answermesh.v1.QueryService.Ask": Resume(id_path="event.sequence"),
    "answermesh.v1.QueryService.WatchQuery": Resume(id_path="event.sequence", request_field="after_sequence"),
}
# So long an upstream that hangs may hold up the first requests.
_FIRST_ASK_S = 5.0
# The orchestrator takes pings this often (rpc.options), and a hung one has to be left within seconds.
_OWN_KEEPALIVE_S = 2.0


def own_setup(target: str) -> Setup:
    """answermesh's own gateway, before the orchestrator's gRPC address."""
    return Setup(
        members=(Member(target),),
        options=Options(resumes=RESUMES),
        reach=Reach(keepalive_s=_OWN_KEEPALIVE_S, ours=True),
        documentation=_documentation(),
    )


async def serve_http(settings: Settings, listen: str, upstream: str, on_ready: Callable[[str], None]) -> None:
    """answermesh's own gateway on `listen` before the target `upstream`; `on_ready` gets the bound address.

    See serve_setup. Raises Failure where the address cannot be had.
    """
    bound, address = bind(listen)
    await serve_setup(own_setup(upstream), bound, lambda: on_ready(address))


async def serve_setup(
    setup: Setup,
    bound: socket.socket,
    on_ready: Callable[[], None],
    *,
    reload: asyncio.Event | None = None,
    shared: Shared | None = None,
) -> None:
    """Serve HTTP on the socket, and close it in the end.

    Connections wait until each upstream was asked for its schema; until one has told it, every call is 503. `on_ready`
    is called once when there is one and all upstreams were asked. Whenever `reload` is set, files and reflection are
    read again, and the access log is opened anew. `shared` holds the counts of the other processes on the same address.
    Runs until cancelled; then requests under way end within 4 s, streams are cut. Raises Failure for a setup that
    cannot be used.
    """
    check_native(logging.getLogger("answermesh.gateway"))
    async with AsyncExitStack() as stack:
        stack.enter_context(bound)
        opened = {one: await stack.enter_async_context(open_upstream(one.target, setup.reach)) for one in setup.members}
        routes = ByService() if len(opened) > 1 else None
        calls = routes or next(iter(opened.values())).calls
        observer = await stack.enter_async_context(
            Observer.open(
                {one.target: upstream.connections for one, upstream in opened.items()}, setup.access_log, shared
            )
        )
        gateway = Gateway(calls, options=setup.options, observer=observer)
        source = SchemaSource(
            gateway,
            [Asked(one, upstream.calls) for one, upstream in opened.items()],
            routes,
            documentation=setup.documentation,
        )
        observer.watch(lambda: (gateway.running, {"taken_up": source.taken_up, "refused": source.refused}))
        try:
            if setup.descriptor_sets:
                source.read(setup.descriptor_sets)
        except SchemaError as error:
            raise invalid_field("--descriptor-set", f"cannot be used: {error}.") from error
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(source.follow(on_ready)),
                group.create_task(_reload(reload or asyncio.Event(), source, setup, observer)),
                group.create_task(observer.keep()),
            ]
            try:
                await _first_asked(source)
                await Server(gateway).serve(bound)
            finally:
                for task in beside:
                    task.cancel()


async def _first_asked(source: SchemaSource) -> None:
    """Let connections wait a moment rather than be answered 503, as those in the queue of a worker that died do."""
    try:
        async with asyncio.timeout(_FIRST_ASK_S):
            await source.asked.wait()
    except TimeoutError:
        pass


async def _reload(asked: asyncio.Event, source: SchemaSource, setup: Setup, observer: Observer) -> None:
    while True:
        await asked.wait()
        asked.clear()
        logging.getLogger("answermesh.gateway").info("reloading")
        observer.reopen()
        source.reload(setup.descriptor_sets)


def _documentation() -> bytes:
    """The contract with its comments, which Python servers' reflection leaves out; empty if it is not there."""
    try:
        return resources.files("answermesh.v1").joinpath("answermesh.binpb").read_bytes()
    except (FileNotFoundError, ModuleNotFoundError):
        return b""
