"""Addresses that are listened on: checked before anything is started, and told in full when they are taken."""

from __future__ import annotations

import errno
import os
import socket

from answermesh.errors import Failure, Reason, invalid_field


def check_listen(option: str, address: str) -> None:
    """Make sure that `address` (HOST:PORT; port 0 lets the kernel choose) can be listened on.

    Raises Failure(INVALID_FIELD) for what is no address, Failure(WRONG_STATE) for one that is in use or not ours.
    """
    host, port = split(option, address)
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise invalid_field(option, f"{address!r}: the host {host!r} is not known; give an IP address.") from error
    with socket.socket(family, kind, protocol) as probe:
        # As servers do: a port that is only closing down counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(place)
            probe.listen()
        except OSError as error:
            raise Failure(Reason.WRONG_STATE, _cannot_listen(option, address, error)) from error


def split(option: str, address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT or [IPV6]:PORT.

    Raises Failure(INVALID_FIELD).
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise invalid_field(option, f"{address!r} is no HOST:PORT; give for example 127.0.0.1:8080.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def several(addresses: str, count: int) -> tuple[str, ...]:
    """As many addresses as there are to be; `addresses` names the first ones, with commas between.

    The others are of the same host, and the system chooses their ports. Raises Failure(INVALID_FIELD) for too many.
    """
    named = [address.strip() for address in addresses.split(",")]
    if len(named) > count:
        raise invalid_field("--grpc", f"names {len(named)} addresses for {count} orchestrators; see --orchestrators.")
    host = named[0].rpartition(":")[0]
    return (*named, *(f"{host}:0" for _ in range(count - len(named))))


def _cannot_listen(option: str, address: str, error: OSError) -> str:
    mend = f"choose another with {option} HOST:PORT, or port 0 to let the system choose."
    if error.errno == errno.EADDRINUSE:
        return f"{address} is in use by another program; stop that, or {mend}"
    return f"{address} cannot be listened on: {os.strerror(error.errno or 0)}; {mend}"
