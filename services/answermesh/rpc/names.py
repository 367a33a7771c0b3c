"""Targets that lead to several servers: a DNS name, resolved into an address for each."""

from __future__ import annotations

import asyncio
import ipaddress
import socket


def is_name(target: str) -> bool:
    """Whether a gRPC target is a DNS name, which may lead to several servers."""
    if target.startswith("dns:"):
        return True
    host, colon, port = target.rpartition(":")
    if not colon or not port.isdecimal() or ":" in host.strip("[]"):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


async def addresses(target: str) -> list[str]:
    """The addresses that a name leads to, as targets in order; the target itself where that is not several.

    A name that leads to one server by IPv4 and IPv6 stays whole: gRPC tries both. So does one that cannot be resolved
    now.
    """
    host, _, port = target.removeprefix("dns:").rpartition("/")[2].rpartition(":")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return [target]
    four = sorted({f"ipv4:{place[0]}:{port}" for family, *_, place in found if family == socket.AF_INET})
    six = sorted({f"ipv6:[{place[0]}]:{port}" for family, *_, place in found if family == socket.AF_INET6})
    return next((several for several in (four, six) if len(several) > 1), [target])
