"""One HTTP/2 connection: its calls, what it may hold, and its end.

    new -> open (the peer's settings have come) -> draining (no new calls; those under way finish) -> closed

It owns no task. Its owner waits for `opened`, `leaving` and `closed`; `on_change` tells that it takes fewer or more
calls, `on_room` that one has ended while others wait.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sized

from grpc import StatusCode

from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.http2 import frames
from answermesh.gateway.upstream.http2.control import obey
from answermesh.gateway.upstream.http2.deadlines import Deadlines
from answermesh.gateway.upstream.http2.frames import ConnectionFault, ErrorCode, Setting
from answermesh.gateway.upstream.http2.meter import Meter
from answermesh.gateway.upstream.http2.options import Http2Options, Keepalive
from answermesh.gateway.upstream.http2.outbox import Outbox
from answermesh.gateway.upstream.http2.presence import Presence
from answermesh.gateway.upstream.http2.receiver import Receiver
from answermesh.gateway.upstream.http2.responses import HeadDecoder
from answermesh.gateway.upstream.http2.resting import Resting
from answermesh.gateway.upstream.http2.stream import Stream


class Connection(asyncio.Protocol):
    """See the module. `name` is the address, for messages; `waiting` is who waits for a call to end."""

    def __init__(
        self,
        name: str,
        options: Http2Options,
        keepalive: Keepalive,
        waiting: Sized,
        on_change: Callable[[], None],
        on_room: Callable[[], None],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.name = name
        self.streams: dict[int, Stream] = {}
        self.outbox = Outbox(self.loop, self._give_up_stuck)
        self._resting = Resting(self.loop, self.outbox)
        # How many of the streams may be kept waiting for a moment.
        self._patient = 0
        self.stream_window = options.stream_window_bytes
        self.max_message_bytes = options.max_message_bytes
        self.max_buffered_bytes = options.max_buffered_bytes
        self.buffered_bytes = 0
        # Streams that may be open at once; none before the peer's settings have come, and none once it drains.
        self.capacity = 0
        # What the peer allows.
        self.peer_streams = options.max_streams
        self.max_header_bytes = math.inf
        self.last_stream_id = -1
        self.is_draining = False
        # The peer told us to ping less.
        self.pinged_too_much = False
        # A call of the owner's that lasts as long as new calls are taken: the watch of the server's health.
        self.watch: Stream | None = None
        self.opened: asyncio.Future[None] = self.loop.create_future()
        # Draining or closed.
        self.leaving: asyncio.Future[None] = self.loop.create_future()
        # With the reason.
        self.closed: asyncio.Future[str] = self.loop.create_future()
        self._options = options
        self._waiting = waiting
        self._on_change = on_change
        self._on_room = on_room
        # When the peer was last heard.
        self.heard_at = self.loop.time()
        self._meter = Meter(self.heard_at)
        self._presence = Presence(self, keepalive)
        self._deadlines = Deadlines(self.loop, self.streams)
        self._receiver = Receiver(
            self,
            self.streams,
            HeadDecoder(options.max_header_bytes),
            max_block=options.max_header_bytes,
            give_back_at=options.connection_window_bytes // 2,
        )

    # ------------------------------------------------------------ transport
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what we take."""
        # Not asserted to be one: uvloop's are none by class.
        self.outbox.transport = transport  # type: ignore[assignment]
        own = {
            # With no table, response headers depend on nothing that came before.
            Setting.HEADER_TABLE_SIZE: 0,
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: self.stream_window,
            Setting.MAX_HEADER_LIST_SIZE: self._options.max_header_bytes,
        }
        room = self._options.connection_window_bytes - frames.DEFAULT_WINDOW
        self.outbox.control(frames.PREFACE + frames.settings(own) + frames.window_update(0, room))
        self._presence.begin()

    def data_received(self, data: bytes) -> None:
        """Whatever is wrong with it ends the connection, never the program."""
        before, self.heard_at = self.heard_at, self.loop.time()
        try:
            self._receiver.feed(data)
        except ConnectionFault as fault:
            self._give_up(fault.code, str(fault))
        self._resting.after(self.heard_at, before, len(data), calls=self.calls, patient=self._patient)

    def pause_writing(self) -> None:
        """The transport holds enough."""
        self.outbox.paused = True

    def resume_writing(self) -> None:
        """The transport takes more."""
        self.outbox.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever made it."""
        self._end(f"it was lost ({exc})" if exc else "the peer closed it")

    # ------------------------------------------------------------ calls
    def open(self, stream: Stream, block: bytes, message: bytes | None) -> None:
        """Start a call; with `message` that is the whole request. There must be capacity."""
        self.last_stream_id += 2
        stream.id = self.last_stream_id
        self.streams[stream.id] = stream
        if stream.is_patient:
            self._patient += 1
        else:
            self._resting.hurry()
        if stream.deadline < self._deadlines.next_at:
            self._deadlines.plan(stream.deadline)
        self.outbox.open(stream, block, message)
        if stream.id > frames.LAST_STREAM_ID - 4:
            self.drain()

    def release(self, stream: Stream) -> None:
        """The peer has ended the stream. If we have not, it is told that nothing more comes."""
        if not stream.sent_end or stream.unsent is not None:
            self.reset(stream, ErrorCode.NO_ERROR)
        elif self.streams.pop(stream.id, None) is not None:
            self._released(stream)

    def forget(self, stream: Stream) -> None:
        """The peer has reset the stream, or will never look at it: nothing is told."""
        if self.streams.pop(stream.id, None) is not None:
            self.outbox.drop(stream)
            self._released(stream)

    def reset(self, stream: Stream, code: ErrorCode) -> bool:
        """End the stream from here; whether there was anything to end."""
        if self.streams.pop(stream.id, None) is None:
            return False
        self.outbox.drop(stream)
        self.outbox.control(frames.reset(stream.id, code))
        self._released(stream)
        return True

    def _released(self, stream: Stream) -> None:
        self.buffered_bytes -= stream.held
        if stream.is_patient:
            self._patient -= 1
        if self._waiting:
            self._on_room()
        if self.is_draining:
            self._close_if_idle()

    def give_back(self, stream_id: int, size: int) -> None:
        """Room for `size` more bytes of a stream."""
        if stream_id in self.streams:
            self.outbox.control(frames.window_update(stream_id, size))

    @property
    def is_full(self) -> bool:
        """Whether more is kept for readers than may be."""
        return self.buffered_bytes > self.max_buffered_bytes

    @property
    def calls(self) -> int:
        """How many are under way, the owner's watch apart: a server that tells its health is no busier for it."""
        return len(self.streams) - (self.watch is not None)

    @property
    def has_room(self) -> bool:
        """Whether a call may start."""
        return len(self.streams) < self.capacity

    # ------------------------------------------------------------ what the peer says
    def on_control(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """See receiver.Control."""
        obey(self, kind, flags, stream_id, payload)

    def on_window_taken(self) -> None:
        """See receiver.Control. Room is given on arrival: a slow reader must not hold up the other calls."""
        taken, self._receiver.taken = self._receiver.taken, 0
        if taken > self._options.connection_window_bytes:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "More DATA than the connection's window allowed.")
        self.outbox.control(frames.window_update(0, taken))

    def on_nothing(self) -> None:
        """See receiver.Control."""
        if not self._meter.allows(self.heard_at):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "Too many frames that bring nothing forward.")

    def check_known(self, stream_id: int) -> None:
        """Raises ConnectionFault for a stream that was never opened."""
        self._receiver.check_known(stream_id)

    def on_settings(self) -> None:
        """The peer's settings have come, for the first time or changed."""
        if not self.is_draining:
            self.capacity = min(self.peer_streams, self._options.max_streams)
        if not self.opened.done():
            self.opened.set_result(None)
        self._on_change()

    def on_settings_acknowledged(self) -> None:
        """The peer knows that our table of headers has no room."""
        self._receiver.decoder.forget_table()

    def take_news(self) -> bool:
        """Whether headers or data have come since this was last asked."""
        news, self._receiver.has_news = self._receiver.has_news, False
        return news

    # ------------------------------------------------------------ the end
    def drain(self) -> None:
        """Take no new calls, and close when those under way have ended."""
        self._leave()
        if self.watch is not None:
            self.watch.abort(ErrorCode.CANCEL, CallError(StatusCode.CANCELLED, "The connection takes no more calls."))
        self._close_if_idle()

    def _leave(self) -> None:
        self.is_draining = True
        self.capacity = 0
        if not self.leaving.done():
            self.leaving.set_result(None)
        self._on_change()

    def _close_if_idle(self) -> None:
        if not self.streams:
            # In a turn of its own: a call may be about to be reset.
            self.loop.call_soon(self.close, "it was drained")

    def close(self, reason: str) -> None:
        """Say goodbye; calls under way fail."""
        self._give_up(ErrorCode.NO_ERROR, reason)

    def _give_up(self, code: ErrorCode, reason: str) -> None:
        if self.closed.done():
            return
        self.outbox.control(frames.goaway(code, reason))
        self.outbox.flush()
        transport = self.outbox.transport
        self._end(reason)
        if transport is not None:
            transport.close()
            # Closing waits until the peer has taken all; one that takes nothing would keep the socket for ever.
            self.loop.call_later(self._options.connect_timeout_s, transport.abort)

    def _give_up_stuck(self) -> None:
        self.abort("the peer takes nothing of what is sent")

    def abort(self, reason: str) -> None:
        """End at once."""
        transport = self.outbox.transport
        self._end(reason)
        if transport is not None:
            transport.abort()

    def _end(self, reason: str) -> None:
        if self.closed.done():
            return
        self.closed.set_result(reason)
        self.outbox.transport = None
        self._resting.end()
        self._deadlines.close()
        self._presence.end()
        streams = list(self.streams.values())
        self.streams.clear()
        self.buffered_bytes = 0
        for stream in streams:
            self.outbox.drop(stream)
            stream.failed(CallError(StatusCode.UNAVAILABLE, f"The connection to {self.name} ended: {reason}."))
        self._leave()
