"""The socket that is listened on."""

from __future__ import annotations

import socket
from pathlib import Path

from answermesh.errors import Failure, Reason, invalid_field

# Connections that wait to be accepted.
BACKLOG = 2048


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
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise Failure(
            Reason.SERVICE_UNAVAILABLE, f"cannot listen on {listen}: {error.strerror}; choose another address."
        ) from error
    bound.setblocking(False)
    return bound
