"""A body that holds many messages, cut into single JSON values as it comes: a JSON array, or one value a line.

The first character decides: `[` is an array. Only the cuts are found here; whether a piece is JSON is for its parser.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from answermesh.gateway.status import CallError, refused

_OUTSIDE = re.compile(rb'["{}\[\],\n]')
_INSIDE = re.compile(rb'["\\]')
_BLANK = b" \t\r\n"


class Splitter:
    """Fed with chunks, gives the values that are whole; holds at most `limit` bytes of one that is not."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._at = 0
        self._depth = 0
        self._in_string = False
        self._is_array: bool | None = None
        self._closed = False
        self._awaits_value = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The values completed by this chunk. Raises CallError for broken nesting or a value over the limit."""
        self._buffer += chunk
        if self._is_array is None and not self._begin():
            return []
        values: list[bytes] = []
        while (token := (_INSIDE if self._in_string else _OUTSIDE).search(self._buffer, self._at)) is not None:
            self._at = token.end()
            self._step(token[0], values)
        # Beyond the end if a backslash was last: the next character is skipped when it comes.
        self._at = max(self._at, len(self._buffer))
        if len(self._buffer) > self._limit:
            raise refused("BODY_TOO_LARGE", f"One message is larger than {self._limit} bytes.", http_status=413)
        return values

    def finish(self) -> list[bytes]:
        """What is left at the end of the body. Raises CallError for one that was cut off."""
        rest = bytes(self._buffer).strip(_BLANK)
        if self._is_array is None:
            return []
        if self._depth or self._in_string or (self._is_array and not self._closed):
            raise _broken("ends in the middle of a value")
        if self._is_array and rest:
            raise _broken("goes on after the array's end")
        return [rest] if rest else []

    def _begin(self) -> bool:
        start = self._buffer.lstrip(_BLANK)
        if not start:
            return False
        self._is_array = start[:1] == b"["
        self._buffer = start[1:] if self._is_array else start
        return True

    def _step(self, token: bytes, values: list[bytes]) -> None:
        if self._in_string:
            if token == b"\\":
                self._at += 1
            else:
                self._in_string = False
        elif token == b'"':
            self._in_string = True
        elif token in b"{[":
            self._depth += 1
        elif token in b"}]":
            if self._depth == 0:
                self._close(token, values)
            else:
                self._depth -= 1
        elif not self._depth and token == (b"," if self._is_array else b"\n"):
            self._cut(values)

    def _cut(self, values: list[bytes]) -> None:
        piece = bytes(self._buffer[: self._at - 1]).strip(_BLANK)
        del self._buffer[: self._at]
        self._at = 0
        if self._closed:
            raise _broken("goes on after the array's end")
        if piece:
            values.append(piece)
        elif self._is_array:
            raise _broken("has a comma without a value")
        self._awaits_value = bool(self._is_array)

    def _close(self, token: bytes, values: list[bytes]) -> None:
        if not self._is_array or self._closed or token != b"]":
            raise _broken("closes what is not open")
        piece = bytes(self._buffer[: self._at - 1]).strip(_BLANK)
        del self._buffer[: self._at]
        self._at = 0
        self._closed = True
        if piece:
            values.append(piece)
        elif self._awaits_value:
            raise _broken("has a comma without a value")


def _broken(what: str) -> CallError:
    return refused("INVALID_JSON", f"The body {what}; send a JSON array, or one JSON value a line.")


async def split(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """The values of a body."""
    splitter = Splitter(limit)
    async for chunk in chunks:
        for value in splitter.feed(chunk):
            yield value
    for value in splitter.finish():
        yield value
