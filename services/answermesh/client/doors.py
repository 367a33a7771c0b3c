"""The addresses of one mesh: one is used while it answers, and the next when it does not."""

from __future__ import annotations

from grpclib.client import Channel
from grpclib.config import Configuration

from answermesh.errors import Failure, Reason, invalid_field
from answermesh.typed.answermesh import v1

# What says that another address may do better.
_ELSEWHERE = {Reason.SERVICE_UNAVAILABLE, Reason.DEADLINE_EXCEEDED}


# While a call waits, a silent orchestrator is asked for a sign of life, and left when it gives none: a stopped process
# still takes bytes in. The mesh's servers allow a ping each second (rpc.options).
_KEEPALIVE = Configuration(
    _keepalive_time=2.0,
    _keepalive_timeout=2.5,
    _http2_max_pings_without_data=0,
    _http2_min_sent_ping_interval_without_data=1.5,
)


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
        # Whether any of them ever answered.
        self.reached = False

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
        return Channel(path=address.removeprefix("unix:"), config=_KEEPALIVE)
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise invalid_field("address", f"{address!r} is no HOST:PORT; give for example 127.0.0.1:50051.")
    return Channel(host.removeprefix("[").removesuffix("]"), int(port), config=_KEEPALIVE)
