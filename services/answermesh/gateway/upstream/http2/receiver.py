"""Frames out of a connection's bytes, each handed to the call or the connection that it is for.

No object is made of a frame. DATA and HEADERS, which are nearly all there is, are dealt with where they are found.
"""

from __future__ import annotations

from typing import Protocol

from answermesh.gateway.upstream.http2 import frames
from answermesh.gateway.upstream.http2.frames import ConnectionFault, ErrorCode, unpadded
from answermesh.gateway.upstream.http2.responses import Head, HeadDecoder
from answermesh.gateway.upstream.http2.stream import Stream

_unpack = frames.HEADER.unpack_from
_PADDED_OR_PRIORITY = frames.PADDED | frames.WITH_PRIORITY
_ID = (1 << 31) - 1
# A header block may come in this many pieces; a piece may be empty, so their bytes are no bound (CVE-2024-27316).
_MOST_PIECES = 64


class Control(Protocol):
    """The connection, as far as frames concern it."""

    # The highest stream that was opened.
    last_stream_id: int

    def on_control(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """A frame that is not of a response. Raises ConnectionFault."""
        ...

    def on_window_taken(self) -> None:
        """So much DATA has come that the peer must be given room. Raises ConnectionFault."""
        ...

    def on_nothing(self) -> None:
        """A frame that brings nothing forward. Raises ConnectionFault when there are too many."""
        ...


class Receiver:
    """The receiving half of a connection."""

    __slots__ = (
        "_block", "_block_flags", "_block_pieces", "_block_stream", "_control", "_give_back_at", "_known", "_max_block",
        "_rest", "_started", "_streams", "decoder", "has_news", "taken",
    )  # fmt: skip

    def __init__(
        self, control: Control, streams: dict[int, Stream], decoder: HeadDecoder, *, max_block: int, give_back_at: int
    ) -> None:
        self._control = control
        self._streams = streams
        self.decoder = decoder
        self._known = decoder.known
        self._max_block = max_block
        self._give_back_at = give_back_at
        # Bytes of DATA since the peer was last given room.
        self.taken = 0
        # Headers or data have come since this was last set to False.
        self.has_news = False
        self._started = False
        self._rest = b""
        # A header block of which CONTINUATIONs are still to come.
        self._block: list[bytes] = []
        self._block_pieces = 0
        self._block_stream = 0
        self._block_flags = 0

    def feed(self, chunk: bytes) -> None:
        """Take what the transport has received. Raises ConnectionFault."""
        if self._rest:
            chunk = self._rest + chunk
            self._rest = b""
        streams, known = self._streams, self._known
        size, at = len(chunk), 0
        while size - at >= 9:
            high, low, kind, flags, stream_id = _unpack(chunk, at)
            start = at + 9
            end = start + low
            if high or low > frames.MAX_FRAME:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "A frame larger than 16384 bytes.")
            if end > size:
                break
            at = end
            if kind == 0 and not flags & 8 and low and not self._block_stream:
                self.taken += low
                self.has_news = True
                if self.taken >= self._give_back_at:
                    self._control.on_window_taken()
                stream = streams.get(stream_id)
                if stream is None:
                    self.check_known(stream_id)
                    continue
                stream.on_data(chunk, start, end, low)
                if flags & 1 and stream_id in streams:
                    stream.on_bare_end()
            elif kind == 1 and flags & 4 and not flags & _PADDED_OR_PRIORITY and not self._block_stream:
                self.has_news = True
                block = chunk[start:end]
                head = known.get(block)
                stream = streams.get(stream_id)
                if head is None or stream is None:
                    self._head(stream_id, flags, block)
                else:
                    stream.on_head(head, flags & 1 == 1)
            else:
                self._rare(kind, flags, stream_id & _ID, chunk[start:end])
        if at < size:
            self._rest = chunk[at:]

    def _rare(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._started:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "The peer's first frame is not SETTINGS.")
            self._started = True
        if self._block_stream:
            self._continue(kind, flags, stream_id, payload)
        elif kind == frames.DATA:
            self._odd_data(flags, stream_id, payload)
        elif kind == frames.HEADERS:
            block = unpadded(payload, flags)
            if flags & frames.END_HEADERS:
                self._head(stream_id, flags, block)
            else:
                self.check_known(stream_id)
                self._block, self._block_pieces = [block], 1
                self._block_stream, self._block_flags = stream_id, flags
        elif kind == frames.CONTINUATION:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS before it.")
        elif kind == frames.PUSH_PROMISE:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, though push was refused.")
        else:
            self._control.on_control(kind, flags, stream_id, payload)

    def _odd_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        """DATA that is padded or empty."""
        self.check_known(stream_id)
        self.taken += len(payload)
        if self.taken >= self._give_back_at:
            self._control.on_window_taken()
        content = unpadded(payload, flags & frames.PADDED)
        stream = self._streams.get(stream_id)
        if not content and not flags & frames.END_STREAM:
            self._control.on_nothing()
        if stream is None:
            return
        if content:
            stream.on_data(content, 0, len(content), len(payload))
        else:
            stream.received += len(payload)
        if flags & frames.END_STREAM and stream_id in self._streams:
            stream.on_bare_end()

    def _continue(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind != frames.CONTINUATION or stream_id != self._block_stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "A header block was interrupted by another frame.")
        self._block.append(payload)
        self._block_pieces += 1
        if self._block_pieces > _MOST_PIECES or sum(map(len, self._block)) > self._max_block:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "A header block of too many bytes or pieces.")
        if flags & frames.END_HEADERS:
            block, self._block = b"".join(self._block), []
            self._block_stream = 0
            self._head(stream_id, self._block_flags, block)

    def _head(self, stream_id: int, flags: int, block: bytes) -> None:
        """A header block that is new, or that nobody waits for."""
        self.check_known(stream_id)
        stream = self._streams.get(stream_id)
        if stream is None and self.decoder.stateless:
            return
        head: Head = self.decoder.known.get(block) or self.decoder.decode(block)
        if stream is not None:
            stream.on_head(head, flags & frames.END_STREAM != 0)

    def check_known(self, stream_id: int) -> None:
        """Frames of calls that are over may come late; those of calls that never were may not."""
        if not self._started:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "The peer's first frame is not SETTINGS.")
        if stream_id % 2 == 0 or stream_id > self._control.last_stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"A frame of stream {stream_id}, which was never opened.")
