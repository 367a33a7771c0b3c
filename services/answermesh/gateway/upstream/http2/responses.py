"""Response headers and trailers: a header block to what a call needs to know of it.

With a decoder whose table has no room, equal blocks mean equal headers, so blocks are decoded once and remembered.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from grpc import StatusCode
from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from answermesh.gateway.status import Metadata
from answermesh.gateway.upstream.http2.frames import ConnectionFault, ErrorCode

# Blocks of methods, statuses and metadata that come again; those that never do push them out at this number.
_REMEMBERED = 512
_REMEMBERED_BYTES = 1024
_CODES = {code.value[0]: code for code in StatusCode}
# https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
_OF_HTTP = {
    400: StatusCode.INTERNAL,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.UNIMPLEMENTED,
    429: StatusCode.UNAVAILABLE,
    502: StatusCode.UNAVAILABLE,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.UNAVAILABLE,
}
_NOT_METADATA = frozenset([b"content-type", b"grpc-encoding", b"grpc-accept-encoding", b"grpc-status", b"grpc-message"])


class Head:
    """One header list of a response: initial metadata, trailers, or both in one."""

    __slots__ = ("code", "encoding", "fault", "http_status", "is_grpc", "message", "metadata")

    def __init__(self) -> None:
        # 0: there was none, as in trailers.
        self.http_status = 0
        # None: there was none, as in initial metadata.
        self.code: StatusCode | None = None
        self.message = ""
        # Why the list is none that may be, "" if it may.
        self.fault = ""
        self.encoding = ""
        self.is_grpc = False
        self.metadata: Metadata = ()

    @property
    def opens(self) -> bool:
        """Whether messages may follow."""
        return self.http_status == 200 and self.is_grpc and not self.fault

    def status(self) -> tuple[StatusCode, str]:
        """How a call ends whose last header list this is."""
        if self.fault:
            return StatusCode.INTERNAL, f"The upstream's headers are malformed: {self.fault}."
        if self.code is None or (self.code is StatusCode.OK and self.http_status and not self.opens):
            return self.unexpected()
        return self.code, self.message

    def unexpected(self) -> tuple[StatusCode, str]:
        """The status of an answer that is none of gRPC, or lacks its status."""
        if not self.http_status:
            return StatusCode.UNKNOWN, "The upstream ended the call without grpc-status."
        code = _OF_HTTP.get(self.http_status, StatusCode.UNKNOWN)
        what = "without grpc-status" if self.is_grpc else "that is not application/grpc"
        return code, f"The upstream sent an answer {what}: HTTP {self.http_status}."


def read_head(fields: Iterable[tuple[bytes, bytes]]) -> Head:
    """The header list of one block."""
    head = Head()
    metadata: list[tuple[str, str | bytes]] = []
    for raw_name, raw_value in fields:
        if raw_name in _NOT_METADATA or raw_name.startswith(b":"):
            _take(head, raw_name, raw_value.decode("latin-1"), bool(metadata))
            continue
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name != name.lower() or not name:
            head.fault = f"the name {name[:50]!r} is not in lower case"
        elif name.endswith("-bin"):
            metadata.extend((name, one) for one in _binary(value))
        else:
            metadata.append((name, value))
    head.metadata = tuple(metadata)
    return head


def _take(head: Head, name: bytes, value: str, late: bool) -> None:
    """A field that the call itself understands."""
    if name == b":status":
        if late or head.http_status or len(value) != 3 or not value.isdecimal():
            head.fault = f":status {value[:20]!r} is out of place or no number"
        else:
            head.http_status = int(value)
    elif name == b"content-type":
        kind = value.lower()
        head.is_grpc = kind == "application/grpc" or kind.startswith(("application/grpc+", "application/grpc;"))
    elif name == b"grpc-encoding":
        head.encoding = value
    elif name == b"grpc-status":
        head.code = _CODES.get(int(value), StatusCode.UNKNOWN) if _is_number(value) else StatusCode.UNKNOWN
    elif name == b"grpc-message":
        head.message = unquote_to_bytes(value.encode("latin-1")).decode("utf-8", "replace")
    elif name.startswith(b":"):
        head.fault = f"{name[:20].decode('latin-1')!r} is not for responses"


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) <= 3


def _binary(value: str) -> list[bytes]:
    """The values of a -bin header, joined by commas or not, padded or not; what is no base64 is left out."""
    values: list[bytes] = []
    for one in value.split(","):
        bare = one.strip().rstrip("=")
        try:
            values.append(base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True))
        except (binascii.Error, ValueError):
            continue
    return values


class HeadDecoder:
    """Header blocks to heads, in the order they come in on one connection."""

    def __init__(self, max_list_bytes: int) -> None:
        self._decoder = Decoder(max_header_list_size=max_list_bytes)
        self._max_list_bytes = max_list_bytes
        # Blocks that were seen, once they depend on nothing but themselves. The receiver looks in here first.
        self.known: dict[bytes, Head] = {}
        self.stateless = False

    def forget_table(self) -> None:
        """The peer has acknowledged that its table has no room: from here on each block stands for itself."""
        # Set on the decoder at once, since some peers that never used the table do not announce its new size.
        self._decoder.header_table_size = 0
        self._decoder.max_allowed_table_size = 0
        self.stateless = True

    def decode(self, block: bytes) -> Head:
        """The head in a whole block. Raises ConnectionFault for one that cannot be read."""
        try:
            fields = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError as error:
            if not self.stateless:
                raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "A header list too large to be read.") from error
            return self._too_large()
        except (HPACKError, IndexError, ValueError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "A header block that cannot be read.") from error
        # hpack gives pairs of bytes for raw=True, which its types cannot say.
        head = read_head(fields)
        if self.stateless and len(block) <= _REMEMBERED_BYTES:
            if len(self.known) >= _REMEMBERED:
                self.known.clear()
            self.known[block] = head
        return head

    def _too_large(self) -> Head:
        head = Head()
        head.http_status, head.is_grpc = 200, True
        head.code = StatusCode.RESOURCE_EXHAUSTED
        head.message = f"The upstream's headers hold more than {self._max_list_bytes} bytes; let it send less metadata."
        return head
