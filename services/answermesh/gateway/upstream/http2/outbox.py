"""What goes out on one connection: gathered per turn of the loop, within the windows that the peer gives.

Whole requests that fit go out as they are; the others wait here, and take turns frame by frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from answermesh.gateway.upstream.http2 import frames
from answermesh.gateway.upstream.http2.frames import ConnectionFault, ErrorCode
from answermesh.gateway.upstream.http2.stream import Stream

# What one turn puts together at most, so that a large message neither holds up the loop nor is copied at once.
_TURN_BYTES = 256 << 10
# Frames that may pile up while the peer takes nothing: far more than all streams need, far less than memory.
_MOST_PILED_UP = 20_000
_headers = frames.HEADER.pack
_message_headers = frames.DATA_WITH_PREFIX.pack


class Outbox:
    """The sending half of a connection."""

    __slots__ = (
        "_blocked", "_loop", "_on_stuck", "_parts", "_piled_up", "_scheduled", "_turn_bytes", "initial_window",
        "max_frame", "paused", "transport", "window",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, on_stuck: Callable[[], None]) -> None:
        self._loop = loop
        # Called, in a turn of its own, when the peer has taken nothing for too long.
        self._on_stuck = on_stuck
        self.transport: asyncio.Transport | None = None
        # Until the peer's settings have come, RFC 9113 6.5.2's.
        self.window = frames.DEFAULT_WINDOW
        self.initial_window = frames.DEFAULT_WINDOW
        self.max_frame = frames.MAX_FRAME
        self.paused = False
        self._parts: list[bytes | memoryview] = []
        self._scheduled = False
        self._turn_bytes = 0
        self._piled_up = 0
        # Streams with something unsent, in the order of their turns.
        self._blocked: dict[Stream, None] = {}

    def control(self, frame: bytes) -> None:
        """Send a frame that no window holds."""
        self._parts.append(frame)
        if self.paused:
            self._pile_up()
        if not self._scheduled:
            self._schedule()

    def open(self, stream: Stream, block: bytes, message: bytes | None) -> None:
        """Send a stream's headers; with `message`, that too, and the end."""
        size = len(block)
        stream.window = self.initial_window
        if size > self.max_frame:
            self.control(frames.headers(stream.id, block, 0, self.max_frame))
        else:
            self._parts += (_headers(size >> 16, size & 0xFFFF, 1, 4, stream.id), block)
            if self.paused:
                self._pile_up()
            if not self._scheduled:
                self._schedule()
        if message is None:
            return
        stream.sent_end = True
        length = len(message)
        size = length + 5
        if size > self.window or size > self.initial_window or size > self.max_frame or self.paused or self._blocked:
            self.send(stream, frames.PREFIX.pack(0, length) + message)
            return
        self.window -= size
        self._parts += (_message_headers(size >> 16, size & 0xFFFF, 0, 1, stream.id, 0, length), message)

    def send(self, stream: Stream, payload: bytes) -> None:
        """Send a stream's payload as windows allow. There must be nothing unsent of it; the end if `sent_end`."""
        stream.unsent = memoryview(payload)
        self._blocked[stream] = None
        self.pump()

    def end(self, stream: Stream) -> None:
        """Send the stream's end, now or after what is unsent."""
        stream.sent_end = True
        if stream.unsent is None:
            self.control(frames.frame(frames.DATA, frames.END_STREAM, stream.id))

    def drop(self, stream: Stream) -> None:
        """The stream is over: what is unsent of it is not sent."""
        stream.unsent = None
        self._blocked.pop(stream, None)

    def change_initial_window(self, size: int, streams: list[Stream]) -> None:
        """The peer's setting applies to open streams too; their windows may become negative (RFC 9113 6.9.2)."""
        change = size - self.initial_window
        self.initial_window = size
        for stream in streams:
            stream.window += change
            if stream.window > frames.MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "A stream's window is above 2^31-1.")
        self.pump()

    def pump(self) -> None:
        """Send what may be sent, the blocked streams in turn."""
        progress = bool(self._blocked)
        while progress:
            progress = False
            for stream in list(self._blocked):
                if self.window <= 0 or self.paused or self._turn_bytes >= _TURN_BYTES:
                    return
                progress |= self._send_frame(stream)

    def _send_frame(self, stream: Stream) -> bool:
        unsent = stream.unsent
        assert unsent is not None
        size = min(len(unsent), self.window, stream.window, self.max_frame)
        if size <= 0 < len(unsent):
            return False
        self.window -= size
        stream.window -= size
        self._turn_bytes += size
        is_last = size == len(unsent)
        flags = frames.END_STREAM if is_last and stream.sent_end else 0
        self.control(frames.header(size, frames.DATA, flags, stream.id))
        self._parts.append(unsent[:size])
        # To the end of the line.
        del self._blocked[stream]
        if is_last:
            stream.unsent = None
            stream.on_sent()
        else:
            stream.unsent = unsent[size:]
            self._blocked[stream] = None
        return True

    def resume(self) -> None:
        """The transport takes more."""
        self.paused = False
        self._piled_up = 0
        self.pump()

    def flush(self) -> None:
        """Hand all to the transport."""
        self._scheduled = False
        self._turn_bytes = 0
        parts, self._parts = self._parts, []
        if self.transport is not None and parts:
            self.transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
        if self._blocked:
            self.pump()

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self.flush)

    def _pile_up(self) -> None:
        self._piled_up += 1
        if self._piled_up == _MOST_PILED_UP:
            self._loop.call_soon(self._on_stuck)
