"""The HTTP server: uvicorn in the running loop, on a socket of ours, stopped by cancelling."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from answermesh.errors import Failure, Reason, invalid_field
from answermesh.gateway.application import Gateway

# Requests under way when the server stops may take this long.
_GRACE_S = 4.0
_BACKLOG = 2048


def bind(listen: str) -> tuple[socket.socket, str]:
    """A bound socket for "HOST:PORT" (port 0: chosen by the kernel) or "unix:PATH", and the address it got.

    Raises Failure (INVALID_FIELD, SERVICE_UNAVAILABLE).
    """
    if listen.startswith("unix:"):
        path = Path(listen.removeprefix("unix:"))
        return _bound(socket.AF_UNIX, str(path), listen), listen
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise invalid_field("http", f"{listen!r} is no address; give HOST:PORT, e.g. 127.0.0.1:8080.")
    host = host.strip("[]") or "0.0.0.0"  # noqa: S104 - what an empty host asks for
    try:
        family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise invalid_field("http", f"host {host!r} cannot be resolved.") from error
    bound = _bound(family, address, listen)
    name = bound.getsockname()
    return bound, f"[{name[0]}]:{name[1]}" if family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


def _bound(family: int, address: object, listen: str) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)  # type: ignore[arg-type]  # its type goes with the family
        # From here on clients wait instead of being refused.
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise Failure(
            Reason.SERVICE_UNAVAILABLE, f"cannot listen on {listen}: {error.strerror}; choose another address."
        ) from error
    bound.setblocking(False)
    return bound


class _Server(uvicorn.Server):
    """Leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _CutStreams(logging.Filter):
    """Answers left unfinished on purpose are no errors: that is how a broken JSON array shows."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "without completing response" not in record.getMessage()


async def serve(gateway: Gateway, bound: socket.socket) -> None:
    """Serve on the socket until cancelled; then end requests under way, and close it."""
    logging.getLogger("uvicorn.error").addFilter(_CutStreams())
    config = uvicorn.Config(
        gateway,
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        log_level=logging.WARNING,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=int(_GRACE_S),
    )
    server = _Server(config)
    # Not in a group: being cancelled must not cancel the server, which has answers to finish. It is awaited below.
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        gateway.drain()
        # uvicorn cuts what is left after its own grace, so this ends.
        await serving
        raise
    finally:
        serving.cancel()
        bound.close()
