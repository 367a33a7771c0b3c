"""Length-prefixed messages, as gRPC-Web and Connect streams carry them: flags, four bytes of length, the message."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator

from grpc import StatusCode

from answermesh.gateway.http.encoding import unzip
from answermesh.gateway.status import CallError, refused

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


def unsupported(encoding: str) -> CallError:
    """The error for a compression that we do not have: UNIMPLEMENTED in gRPC and Connect alike."""
    told = f"Compression {encoding[:40]!r} is not supported; use gzip or identity."
    return refused("UNSUPPORTED_ENCODING", told, code=StatusCode.UNIMPLEMENTED)


def inflate(message: bytes, encoding: str, limit: int) -> bytes:
    """A message whose flags say that it is compressed. Raises CallError."""
    if encoding != "gzip":
        raise unsupported(encoding)
    return unzip(message, limit)


async def only_message(messages: AsyncIterator[bytes]) -> bytes:
    """The one message of a call that takes no stream. Raises CallError (UNIMPLEMENTED) for none or more, as gRPC does.

    Looked at here, since some servers wait for ever for a message that does not come.
    """
    found = [message async for message in messages]
    if len(found) != 1:
        raise refused(
            "WRONG_MESSAGE_COUNT", f"The method takes one message, not {len(found)}.", code=StatusCode.UNIMPLEMENTED
        )
    return found[0]
