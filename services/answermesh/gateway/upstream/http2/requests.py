"""Request headers as HPACK bytes: literals only, so that a block says the same on every connection.

What is the same for all calls of a method is encoded once. The rest are literals that are never indexed (RFC 7541
6.2.3): metadata holds credentials, and differs from call to call.
"""

from __future__ import annotations

import base64
import math
import re
from typing import TypeVar

from grpc import StatusCode

from answermesh.gateway.status import CallError, Metadata

# Names and timeouts come again and again; should they not, what is remembered starts anew at this number.
_REMEMBERED = 1024
_NAME = re.compile(r"[0-9a-z_.-]+")
_NEVER_INDEXED = b"\x10"
# Lengths below 127 are one byte (RFC 7541 5.1).
_LENGTHS = [bytes([length]) for length in range(127)]
# Indexes in the static table (RFC 7541 A).
_POST, _SCHEME = b"\x83", {"http": b"\x86", "https": b"\x87"}
_AUTHORITY_INDEX, _PATH_INDEX = b"\x01", b"\x04"
_RESERVED = frozenset(
    ["connection", "host", "te", "content-type", "content-length", "transfer-encoding", "keep-alive", "upgrade"]
)
USER_AGENT = "answermesh-gateway"
K = TypeVar("K")


class RequestHeaders:
    """Writes the header blocks of one client."""

    def __init__(self, scheme: str, authority: str) -> None:
        self._before = _POST + _SCHEME[scheme] + _AUTHORITY_INDEX + literal(authority)
        self._after = b"".join(
            b"\x00" + literal(name) + literal(value)
            for name, value in (
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                ("user-agent", USER_AGENT),
                ("grpc-accept-encoding", "identity,gzip"),
            )
        )
        self._paths: dict[str, bytes] = {}
        self._names: dict[str, bytes] = {}
        self._timeouts: dict[float, bytes] = {}

    def block(self, path: str, metadata: Metadata, timeout_s: float | None) -> bytes:
        """The whole block. Raises CallError for metadata that may not be sent."""
        parts = [self._paths.get(path) or self._path(path)]
        if timeout_s is not None:
            parts.append(self._timeouts.get(timeout_s) or self._timeout(timeout_s))
        names = self._names
        for name, value in metadata:
            if type(value) is not str:
                value = base64.b64encode(value).rstrip(b"=").decode()  # type: ignore[arg-type]  # narrowed by the type
            elif not value.isprintable() or not value.isascii():
                raise _unlawful(name, "must be printable ASCII")
            length = len(value)
            parts.append(names.get(name) or self._name(name))
            parts.append(_LENGTHS[length] if length < 127 else integer(length, 7))
            parts.append(value.encode())
        return b"".join(parts)

    def _path(self, path: str) -> bytes:
        """Paths come from the plan, so there are as many as methods, but for callers of their own."""
        encoded = self._before + _PATH_INDEX + literal(path) + self._after
        return _remembered(self._paths, path, encoded)

    def _name(self, name: str) -> bytes:
        if not _NAME.fullmatch(name) or name in _RESERVED or name.startswith("grpc-"):
            raise _unlawful(name, "is not a name for metadata")
        return _remembered(self._names, name, _NEVER_INDEXED + literal(name))

    def _timeout(self, timeout_s: float) -> bytes:
        encoded = b"\x00" + literal("grpc-timeout") + literal(grpc_timeout(timeout_s))
        return _remembered(self._timeouts, timeout_s, encoded)


def _remembered(memory: dict[K, bytes], key: K, value: bytes) -> bytes:
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[key] = value
    return value


def _unlawful(name: str, why: str) -> CallError:
    return CallError(StatusCode.INTERNAL, f"Metadata {name[:100]!r} {why}; it was not sent.")


def grpc_timeout(timeout_s: float) -> str:
    """A grpc-timeout of at most 8 digits, not less than asked: "300m" is 0.3 s."""
    for unit, in_a_second in (("u", 1e6), ("m", 1e3), ("S", 1.0), ("M", 1 / 60)):
        count = math.ceil(timeout_s * in_a_second)
        if count < 100_000_000:
            return f"{max(count, 1)}{unit}"
    return "99999999H"


def integer(value: int, prefix_bits: int, mark: int = 0) -> bytes:
    """RFC 7541 5.1."""
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes([mark | value])
    encoded = bytearray([mark | limit])
    value -= limit
    while value >= 128:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def literal(text: str) -> bytes:
    """A string literal, not Huffman-coded: what that saves on the wire costs more on both ends."""
    raw = text.encode()
    return integer(len(raw), 7) + raw
