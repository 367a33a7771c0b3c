"""The socket that is listened on."""

from __future__ import annotations

import socket

from answermesh.errors import Failure, Reason, invalid_field
from answermesh.rpc.listen import claim, socket_path

# Connections that wait to be accepted.
BACKLOG = 2048


def bind(listen: str, *, shared: bool = False) -> tuple[socket.socket, str]:
    """A bound socket for "HOST:PORT" (port 0: chosen by the kernel) or "unix:PATH", and the address it got.

    With `shared`, more sockets may be bound to the same address: the kernel spreads connections over all of them.
    Raises Failure (INVALID_FIELD, SERVICE_UNAVAILABLE).
    """
    if listen.startswith("unix:"):
        claim(listen)
        return _bound(socket.AF_UNIX, str(socket_path(listen)), listen), listen
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise invalid_field("http", f"{listen!r} is no address; give HOST:PORT, e.g. 127.0.0.1:8080.")
    host = host.strip("[]") or "0.0.0.0"  # noqa: S104 - what an empty host asks for
    try:
        family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise invalid_field("http", f"host {host!r} cannot be resolved.") from error
    bound = _bound(family, address, listen, shared=shared)
    name = bound.getsockname()
    return bound, f"[{name[0]}]:{name[1]}" if family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


def _bound(family: int, address: object, listen: str, *, shared: bool = False) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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
