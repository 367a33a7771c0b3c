"""gRPC targets: which addresses a text names, or which name has to be looked up for them.

host:port   dns:host:port   dns:///host:port   ipv4:1.2.3.4:5,6.7.8.9:5   ipv6:[::1]:5   unix:PATH   unix:///PATH
"""

from __future__ import annotations

import ipaddress
import socket
from asyncio import AbstractEventLoop
from dataclasses import dataclass

from answermesh.errors import Failure, invalid_field


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect to: an IP address and its port, or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """`addresses`, or if there are none the name `host`, to be looked up. `authority` is what calls say."""

    authority: str
    addresses: tuple[Address, ...] = ()
    host: str = ""
    port: int = 0


def parse_target(text: str) -> Target:
    """Raises Failure(INVALID_FIELD)."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path or "\0" in path:
            raise _wrong(text, "has no path")
        return Target("localhost", (Address(path=path),))
    for scheme, version in (("ipv4:", 4), ("ipv6:", 6)):
        if text.startswith(scheme):
            addresses = tuple(_address(text, one, version) for one in text.removeprefix(scheme).split(","))
            return Target(str(addresses[0]), addresses)
    name = text.removeprefix("dns:")
    if name.startswith("//"):
        server, _, name = name[2:].partition("/")
        if server:
            raise _wrong(text, "names a DNS server, which is not supported: write dns:///HOST:PORT")
    host, port = _split(text, name)
    try:
        address = Address(str(ipaddress.ip_address(host)), port)
    except ValueError:
        return Target(f"{host}:{port}", host=host, port=port)
    return Target(str(address), (address,))


async def resolve(target: Target, loop: AbstractEventLoop) -> tuple[Address, ...]:
    """All addresses behind the target's name, each once. Raises OSError."""
    found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(Address(str(address[0]), target.port) for *_, address in found))


def _address(text: str, one: str, version: int) -> Address:
    host, port = _split(text, one)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise _wrong(text, f"has {host!r}, which is no IP address") from None
    if address.version != version:
        raise _wrong(text, f"has {host!r}, which is no IPv{version} address")
    return Address(str(address), port)


def _split(text: str, host_port: str) -> tuple[str, int]:
    host, _, port = host_port.rpartition(":")
    if not host.strip("[]") or not port.isdecimal() or not 0 < int(port) < 65536:
        raise _wrong(text, "needs a host and a port")
    return host.strip("[]"), int(port)


def _wrong(text: str, why: str) -> Failure:
    return invalid_field(
        "upstream", f"{text!r} {why}; give e.g. '127.0.0.1:50051', 'dns:///service:50051', 'unix:PATH'."
    )
