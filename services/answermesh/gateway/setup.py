"""What a gateway of its own is told: where its services are, and how it serves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from answermesh.errors import invalid_field
from answermesh.gateway.options import Options


@dataclass(frozen=True, slots=True)
class Tls:
    """How an upstream is reached by TLS; None for `ca` means the roots that gRPC brings along."""

    ca: Path | None = None
    # Both or none: the certificate by which the gateway shows who it is, and its key (PEM).
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """How all upstreams of one gateway are called."""

    tls: Tls | None = None
    # Name that is sent as :authority, and that a certificate must be for; empty: that of the target.
    authority: str = ""
    # A connection that is quiet while calls are under way is pinged this often; for servers that allow it. None is
    # what every server allows, and still notices one that hangs.
    keepalive_s: float | None = None
    # Whether they are servers of the mesh, whose calls grpc.aio may repeat as rpc.options says.
    ours: bool = False
    # Which client: "http2" is the gateway's own, "grpc" is grpc.aio.
    client: str = "http2"


@dataclass(frozen=True, slots=True)
class Member:
    """One upstream: its gRPC target, and the services that are called there; none named: those that nobody names."""

    target: str
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Setup:
    """One gateway."""

    members: tuple[Member, ...]
    # Files of serialised FileDescriptorSets. Where they describe all services of a member, it is not asked.
    descriptor_sets: tuple[Path, ...] = ()
    options: Options = field(default_factory=Options)
    reach: Reach = field(default_factory=Reach)
    # A descriptor set with comments, for files that reflection gives without them.
    documentation: bytes = b""
    # File of the access log, "-" for stdout, "" for none.
    access_log: str = ""


def parse_member(text: str) -> Member:
    """`TARGET` or `TARGET=SERVICE,SERVICE`. Raises Failure(INVALID_FIELD)."""
    target, equals, listed = text.strip().partition("=")
    services = tuple(dict.fromkeys(name.strip() for name in listed.split(",") if name.strip()))
    if not target or (equals and not services):
        raise invalid_field("--upstream", f"{text!r} names no service; give HOST:PORT, or HOST:PORT=package.Service.")
    if bad := [name for name in services if not name.replace(".", "_").isidentifier()]:
        raise invalid_field("--upstream", f"{bad[0]!r} is no full name of a service, e.g. package.Service.")
    return Member(target, services)


def read_sets(paths: Sequence[Path]) -> tuple[bytes, ...]:
    """The bytes of the files. Raises Failure(INVALID_FIELD) for one that cannot be read."""
    try:
        return tuple(path.read_bytes() for path in paths)
    except OSError as error:
        raise invalid_field("--descriptor-set", f"{error.filename} cannot be read: {error.strerror}.") from error
