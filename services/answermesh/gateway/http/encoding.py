"""Content codings of bodies: gzip both ways, and no other.

Who takes br or zstd takes gzip as well, and a client may always send a body as it is, so another coding would only be
another dependency.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator

from answermesh.gateway.status import CallError, refused

# What is unpacked at a time: a small body may hold a very large one.
_PIECE_BYTES = 64 << 10
_NAMES = ("gzip", "x-gzip")


def is_plain(content_encoding: str) -> bool:
    """Whether a body of this Content-Encoding is as it was written. Raises CallError (415) for one we cannot unpack."""
    encoding = content_encoding.strip().lower()
    if encoding not in ("", "identity", *_NAMES):
        raise refused(
            "UNSUPPORTED_ENCODING", "Content-Encoding must be gzip or absent.", http_status=415,
            headers=[("accept-encoding", "gzip")],
        )  # fmt: skip
    return encoding not in _NAMES


def unzip(body: bytes, limit: int) -> bytes:
    """A whole gzip body. Raises CallError: 400 for one that is none or cut off, 413 for more than `limit` bytes."""
    unzipper = Unzipper()
    pieces: list[bytes] = []
    size = 0
    for piece in unzipper.feed(body):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise refused("BODY_TOO_LARGE", f"The body is larger than {limit} bytes; send less.", http_status=413)
    unzipper.finish()
    return b"".join(pieces)


async def unzipped(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces of a gzip body that comes in chunks. Raises CallError (400) like `unzip`."""
    unzipper = Unzipper()
    async for chunk in chunks:
        for piece in unzipper.feed(chunk):
            yield piece
    unzipper.finish()


class Unzipper:
    """Unpacks gzip of one or more members (RFC 1952 2.2), piece by piece."""

    def __init__(self) -> None:
        self._member = _member()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Pieces of bounded size. Raises CallError (400)."""
        more = bool(chunk)
        while more:
            if self._member.eof:
                self._member = _member()
            try:
                piece = self._member.decompress(chunk, _PIECE_BYTES)
            except zlib.error as error:
                raise _broken("is no gzip") from error
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            # A full piece may have left a rest inside, though all of the input is taken.
            more = bool(chunk) or (len(piece) == _PIECE_BYTES and not self._member.eof)
            if piece:
                yield piece

    def finish(self) -> None:
        """Raises CallError (400) for a body that was cut off."""
        if not self._member.eof:
            raise _broken("is gzip that is cut off")


def _member() -> zlib._Decompress:
    return zlib.decompressobj(16 + zlib.MAX_WBITS)


def _broken(what: str) -> CallError:
    return refused("INVALID_ENCODING", f"The body {what}.")


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an answer may be gzip (RFC 9110 12.5.3): by name, else by `*`."""
    if not accept_encoding:
        return False
    found: dict[str, bool] = {}
    for coding in accept_encoding.lower().split(","):
        name, _, parameters = coding.partition(";")
        found[name.strip()] = parameters.replace(" ", "") not in ("q=0", "q=0.", "q=0.0", "q=0.00", "q=0.000")
    return next((found[name] for name in (*_NAMES, "*") if name in found), False)
