"""gRPC's length-prefixed messages out of DATA of any cut, and their decompression within a bound."""

from __future__ import annotations

import zlib

from grpc import StatusCode

from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.http2.frames import PREFIX

_PREFIX_SIZE = PREFIX.size


class Assembler:
    """Puts messages together that do not lie whole in one frame."""

    __slots__ = ("_buffer", "_encoding", "_limit", "_needed")

    def __init__(self, limit: int, encoding: str) -> None:
        self._buffer = bytearray()
        # Size of the message being put together, with its prefix; of the prefix while it is not known.
        self._needed = _PREFIX_SIZE
        self._limit = limit
        self._encoding = encoding

    def __len__(self) -> int:
        """Bytes of a message that is not whole."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The messages that are whole now. Raises CallError for one that is too large or cannot be decompressed."""
        self._buffer += chunk
        if len(self._buffer) < self._needed:
            return []
        messages: list[bytes] = []
        chunk = bytes(self._buffer)
        at, end = 0, len(chunk)
        self._needed = _PREFIX_SIZE
        while end - at >= _PREFIX_SIZE:
            flag, size = PREFIX.unpack_from(chunk, at)
            if size > self._limit:
                raise too_large(size, self._limit)
            stop = at + _PREFIX_SIZE + size
            if stop > end:
                self._needed = stop - at
                break
            messages.append(plain(flag, chunk[at + _PREFIX_SIZE : stop], self._encoding, self._limit))
            at = stop
        self._buffer = bytearray(chunk[at:])
        return messages


def too_large(size: int, limit: int) -> CallError:
    """The error of a response message over the limit."""
    return CallError(
        StatusCode.RESOURCE_EXHAUSTED,
        f"The upstream's message of {size} bytes is larger than {limit}; ask for less, e.g. a smaller page.",
    )


def plain(flag: int, payload: bytes, encoding: str, limit: int) -> bytes:
    """The message of one payload. Raises CallError."""
    if flag == 0:
        return payload
    if flag != 1:
        raise CallError(StatusCode.INTERNAL, f"The upstream's message has the flag {flag}, which must be 0 or 1.")
    if encoding == "gzip":
        return _gunzipped(payload, limit)
    raise CallError(
        StatusCode.INTERNAL, f"The upstream compressed with {encoding[:50]!r}, though only gzip was offered."
    )


def _gunzipped(payload: bytes, limit: int) -> bytes:
    decompressor = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        message = decompressor.decompress(payload, limit + 1)
    except zlib.error as error:
        raise CallError(StatusCode.INTERNAL, "The upstream's compressed message is no gzip.") from error
    if len(message) > limit:
        raise too_large(len(message), limit)
    if not decompressor.eof:
        raise CallError(StatusCode.INTERNAL, "The upstream's compressed message ends early.")
    return message
