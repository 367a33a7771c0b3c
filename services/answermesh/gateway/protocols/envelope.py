"""Length-prefixed messages, as gRPC-Web and Connect streams carry them: flags, four bytes of length, the message."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import AsyncIterator

from answermesh.gateway.status import refused

COMPRESSED = 0x01
_PREFIX = struct.Struct(">BI")


def pack(flags: int, message: bytes) -> bytes:
    """One envelope."""
    return _PREFIX.pack(flags, len(message)) + message


async def unpack(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[tuple[int, bytes]]:
    """The envelopes of a body. Raises CallError for one over the limit or cut short."""
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        while len(buffer) >= _PREFIX.size:
            flags, size = _PREFIX.unpack_from(buffer)
            if size > limit:
                raise refused("BODY_TOO_LARGE", f"A message is larger than {limit} bytes; send less.", http_status=413)
            end = _PREFIX.size + size
            if len(buffer) < end:
                break
            message = bytes(buffer[_PREFIX.size : end])
            del buffer[:end]
            yield flags, message
    if buffer:
        raise refused("INVALID_ENVELOPE", "The body ends in the middle of a message.")


def inflate(message: bytes, encoding: str, limit: int) -> bytes:
    """A message whose flags say that it is compressed. Raises CallError."""
    if encoding != "gzip":
        raise refused("UNSUPPORTED_ENCODING", f"Compression {encoding[:40]!r} is not supported; use gzip or none.")
    try:
        plain = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(message, limit + 1)
    except zlib.error as error:
        raise refused("INVALID_ENCODING", "A message is no gzip.") from error
    if len(plain) > limit:
        raise refused("BODY_TOO_LARGE", f"A message is larger than {limit} bytes; send less.", http_status=413)
    return plain


def deflate(message: bytes) -> bytes:
    """The message as gzip."""
    return gzip.compress(message, 5, mtime=0)
