"""HTTP/2 frames as bytes: what RFC 9113 calls them, how they are written, and which of their payloads are lawful.

Reading them from a stream of bytes is `receiver`'s part, which does it without making an object of any.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

HEADER_SIZE = 9
# High byte and low half of the length, kind, flags, stream.
HEADER = struct.Struct(">BHBBL")
# A DATA frame's header with the prefix of the gRPC message in it.
DATA_WITH_PREFIX = struct.Struct(">BHBBLBL")
# The prefix of a gRPC message: whether it is compressed, and its length.
PREFIX = struct.Struct(">BL")
_SETTING = struct.Struct(">HL")
_UINT32 = struct.Struct(">L")

# Nobody may send larger frames before the other side has said so (RFC 9113 6.5.2); we never say so.
MAX_FRAME = 16384
MAX_WINDOW = (1 << 31) - 1
DEFAULT_WINDOW = 65535
LAST_STREAM_ID = (1 << 31) - 1


class Setting(IntEnum):
    """RFC 9113 6.5.2."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(IntEnum):
    """RFC 9113 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class ConnectionFault(Exception):
    """The peer broke a rule that ends the connection."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One whole frame."""
    return header(len(payload), kind, flags, stream_id) + payload


def header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes before a payload of `length` bytes."""
    return HEADER.pack(length >> 16, length & 0xFFFF, kind, flags, stream_id)


def settings(values: dict[Setting, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(key, value) for key, value in values.items()))


def window_update(stream_id: int, size: int) -> bytes:
    """A WINDOW_UPDATE frame: `size` more bytes may come."""
    return frame(WINDOW_UPDATE, 0, stream_id, _UINT32.pack(size))


def reset(stream_id: int, code: ErrorCode) -> bytes:
    """An RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream_id, _UINT32.pack(code))


def goaway(code: ErrorCode, message: str) -> bytes:
    """A GOAWAY frame of a client, whose peer has opened no streams."""
    return frame(GOAWAY, 0, 0, _UINT32.pack(0) + _UINT32.pack(code) + message.encode()[:200])


def headers(stream_id: int, block: bytes, flags: int, max_frame: int) -> bytes:
    """A header block as HEADERS and as many CONTINUATIONs as it takes."""
    pieces = [block[start : start + max_frame] for start in range(0, len(block), max_frame)] or [b""]
    kinds = [HEADERS] + [CONTINUATION] * (len(pieces) - 1)
    marks = [flags] + [0] * (len(pieces) - 1)
    marks[-1] |= END_HEADERS
    return b"".join(frame(kind, mark, stream_id, piece) for kind, mark, piece in zip(kinds, marks, pieces, strict=True))


def read_uint32(payload: bytes, at: int = 0) -> int:
    """Four bytes as a number."""
    return int(_UINT32.unpack_from(payload, at)[0])


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """The identifiers and values of a SETTINGS payload. Raises ConnectionFault for those that may not be."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes, no multiple of 6.")
    for key, value in _SETTING.iter_unpack(payload):
        if key == Setting.INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"INITIAL_WINDOW_SIZE {value} is above {MAX_WINDOW}.")
        if key == Setting.MAX_FRAME_SIZE and not MAX_FRAME <= value < 1 << 24:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"MAX_FRAME_SIZE {value} is not in 16384..16777215.")
        if key == Setting.ENABLE_PUSH and value:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "A server must not enable push.")
        yield key, value


def unpadded(payload: bytes, flags: int) -> bytes:
    """The payload of DATA or HEADERS without its padding and priority. Raises ConnectionFault."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "A padded frame without its padding's length.")
        start, end = 1, end - payload[0]
    if flags & WITH_PRIORITY:
        start += 5
    if start > end:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "A frame's padding is longer than the frame.")
    return payload[start:end]
