"""The gRPC server behind the gateway under load: `python backend.py STUBS steady|shaky PORT [MAX_AGE_S]`.

With MAX_AGE_S, connections are closed by GOAWAY after that time; with the variable TLS_FOLDER it serves by TLS, and
asks for a certificate. Prints its port once it serves.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import uvloop
from grpc_reflection.v1alpha import reflection


class Steady:
    """The calls of both services."""

    def __init__(self, messages: Any) -> None:
        self._messages = messages

    async def Echo(self, request: Any, context: Any) -> Any:
        return request

    async def Tiny(self, request: Any, context: Any) -> Any:
        return self._messages.TinyReply(name=request.name, n=request.n + 1)

    async def Feed(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for n in range(1, request.count + 1):
            yield self._messages.FeedItem(n=n, text="x" * 20)

    async def Collect(self, requests: AsyncIterator[Any], context: Any) -> Any:
        total = 0
        async for item in requests:
            total += item.n
        return self._messages.TinyReply(n=total)

    async def Idle(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield self._messages.FeedItem(n=1)
        await asyncio.Event().wait()


def _by(folder: Path) -> grpc.ServerCredentials:
    key, own, ca = ((folder / name).read_bytes() for name in ("server.key", "server.pem", "ca.pem"))
    return grpc.ssl_server_credentials([(key, own)], ca, require_client_auth=True)


async def main(stubs: str, kind: str, port: str, max_age_s: str = "0") -> None:
    """Serve until the process is ended."""
    sys.path.insert(0, stubs)
    import load_pb2
    import load_pb2_grpc

    options = [
        ("grpc.so_reuseport", 0),
        # The gateway under test pings every second, to notice a stopped server.
        ("grpc.http2.min_ping_interval_without_data_ms", 100),
        ("grpc.max_concurrent_streams", 10_000),
    ]
    if float(max_age_s):
        age_ms = int(float(max_age_s) * 1000)
        options += [("grpc.max_connection_age_ms", age_ms), ("grpc.max_connection_age_grace_ms", 3_600_000)]
    server = grpc.aio.server(options=options)
    service = kind.title()
    getattr(load_pb2_grpc, f"add_{service}Servicer_to_server")(Steady(load_pb2), server)
    reflection.enable_server_reflection([f"load.v1.{service}", reflection.SERVICE_NAME], server)
    address = f"127.0.0.1:{port}"
    certificates = os.environ.get("TLS_FOLDER")
    bound = (
        server.add_secure_port(address, _by(Path(certificates))) if certificates else server.add_insecure_port(address)
    )
    await server.start()
    print(bound, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
