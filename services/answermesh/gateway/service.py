"""answermesh's own gateway: HTTP before the orchestrator's gRPC address, its schema by reflection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from importlib import resources

from answermesh.config import Settings
from answermesh.gateway.application import Gateway
from answermesh.gateway.http.listener import bind
from answermesh.gateway.http.server import Server
from answermesh.gateway.options import Options
from answermesh.gateway.plan import Resume
from answermesh.gateway.source import follow
from answermesh.gateway.transcoding.native import check_native
from answermesh.gateway.upstream.grpc_channel import GrpcUpstream
from answermesh.rpc.channel import open_channel

# Streams of events: their sequence is the SSE id; a watch goes on after the id that a browser says it saw last.
RESUMES = {
    "answermesh.v1.QueryService.Ask": Resume(id_path="event.sequence"),
    "answermesh.v1.QueryService.WatchQuery": Resume(id_path="event.sequence", request_field="after_sequence"),
}


async def serve_http(settings: Settings, listen: str, upstream: str, on_ready: Callable[[str], None]) -> None:
    """Serve HTTP on `listen` ("HOST:PORT", port 0 = chosen by the kernel; "unix:PATH") before the target `upstream`.

    Until the upstream has told its schema, every call is 503. `on_ready` is called once with the bound address when it
    has. Runs until cancelled; then requests under way end within 4 s, streams are cut.
    Raises Failure where the address cannot be had.
    """
    check_native(logging.getLogger("answermesh.gateway"))
    bound, address = bind(listen)
    with bound:
        async with open_channel(upstream) as channel:
            calls = GrpcUpstream(channel)
            gateway = Gateway(calls, options=Options(resumes=RESUMES))
            async with asyncio.TaskGroup() as group:
                follower = group.create_task(
                    follow(gateway, calls, documentation=_documentation(), on_first=lambda: on_ready(address))
                )
                try:
                    await Server(gateway).serve(bound)
                finally:
                    follower.cancel()


def _documentation() -> bytes:
    """The contract with its comments, which Python servers' reflection leaves out; empty if it is not there."""
    try:
        return resources.files("answermesh.v1").joinpath("answermesh.binpb").read_bytes()
    except (FileNotFoundError, ModuleNotFoundError):
        return b""
