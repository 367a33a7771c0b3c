"""The addresses of one mesh: one is used while it answers, and the next when it does not."""

from __future__ import annotations

from grpclib.client import Channel

from answermesh.errors import Failure, Reason, invalid_field
from answermesh.typed.answermesh import v1

# What says that another address may do better.
_ELSEWHERE = {Reason.SERVICE_UNAVAILABLE, Reason.DEADLINE_EXCEEDED}


class Door:
    """One address, and the mesh's services there; connected at the first call."""

    def __init__(self, address: str, timeout_s: float) -> None:
        self.address = address
        self.channel = _channel(address)
        self.queries = v1.QueryServiceStub(self.channel, timeout=timeout_s)
        self.documents = v1.DocumentServiceStub(self.channel, timeout=timeout_s)
        self.claims = v1.ClaimServiceStub(self.channel, timeout=timeout_s)
        self.graph = v1.GraphServiceStub(self.channel, timeout=timeout_s)
        self.mesh = v1.MeshServiceStub(self.channel, timeout=timeout_s)
        self.feedback = v1.FeedbackServiceStub(self.channel, timeout=timeout_s)
        self.usage = v1.UsageServiceStub(self.channel, timeout=timeout_s)


class Doors:
    """All addresses of a mesh. Raises Failure(INVALID_FIELD) for one that is none."""

    def __init__(self, addresses: str, timeout_s: float) -> None:
        self._doors = [Door(address.strip(), timeout_s) for address in addresses.split(",")]
        self._used = 0

    @property
    def now(self) -> Door:
        """The one that is used."""
        return self._doors[self._used]

    @property
    def count(self) -> int:
        return len(self._doors)

    def leave(self, door: Door, failure: Failure) -> None:
        """Use the next one, if that is what a failure at this one calls for."""
        if failure.reason in _ELSEWHERE and door is self.now:
            self._used = (self._used + 1) % len(self._doors)

    def close(self) -> None:
        """Close all connections."""
        for door in self._doors:
            door.channel.close()


def _channel(address: str) -> Channel:
    if address.startswith("unix:"):
        return Channel(path=address.removeprefix("unix:"))
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise invalid_field("address", f"{address!r} is no HOST:PORT; give for example 127.0.0.1:50051.")
    return Channel(host.removeprefix("[").removesuffix("]"), int(port))
