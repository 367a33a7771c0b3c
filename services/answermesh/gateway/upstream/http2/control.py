"""What the peer says of the connection rather than of a response: settings, windows, pings, resets, going away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from answermesh.gateway.upstream.calls import Unprocessed
from answermesh.gateway.upstream.http2 import frames
from answermesh.gateway.upstream.http2.frames import ConnectionFault, ErrorCode, Setting
from answermesh.gateway.upstream.http2.resets import name_of, reset_error

if TYPE_CHECKING:
    from answermesh.gateway.upstream.http2.connection import Connection

_SIZES = {frames.PRIORITY: 5, frames.RST_STREAM: 4, frames.PING: 8, frames.WINDOW_UPDATE: 4}
_OF_CONNECTION = (frames.SETTINGS, frames.PING, frames.GOAWAY)
_OF_STREAM = (frames.PRIORITY, frames.RST_STREAM)


def obey(connection: Connection, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
    """Carry out one frame. Raises ConnectionFault; unknown kinds are ignored (RFC 9113 4.1)."""
    if _SIZES.get(kind, len(payload)) != len(payload):
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"A frame of kind {kind} with {len(payload)} bytes.")
    if (kind in _OF_CONNECTION and stream_id) or (kind in _OF_STREAM and not stream_id):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"A frame of kind {kind} on stream {stream_id}.")
    if kind == frames.WINDOW_UPDATE:
        _widen(connection, stream_id, frames.read_uint32(payload) & frames.MAX_WINDOW)
    elif kind == frames.RST_STREAM:
        _reset(connection, stream_id, frames.read_uint32(payload))
    elif kind == frames.GOAWAY:
        _leave(connection, payload)
    else:
        connection.on_nothing()
        if kind == frames.SETTINGS:
            _set(connection, flags, payload)
        elif kind == frames.PING and not flags & frames.ACK:
            connection.outbox.control(frames.frame(frames.PING, frames.ACK, 0, payload))


def _widen(connection: Connection, stream_id: int, size: int) -> None:
    outbox = connection.outbox
    stream = connection.streams.get(stream_id)
    if stream_id == 0:
        outbox.window += size
        if not size or outbox.window > frames.MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "A WINDOW_UPDATE of 0, or over 2^31-1 in all.")
    elif stream is not None:
        stream.window += size
        if not size or stream.window > frames.MAX_WINDOW:
            code = ErrorCode.FLOW_CONTROL_ERROR if size else ErrorCode.PROTOCOL_ERROR
            stream.abort(code, reset_error(code))
    else:
        connection.check_known(stream_id)
    outbox.pump()


def _reset(connection: Connection, stream_id: int, code: int) -> None:
    connection.check_known(stream_id)
    stream = connection.streams.get(stream_id)
    if stream is not None:
        connection.forget(stream)
        stream.failed(reset_error(code))


def _set(connection: Connection, flags: int, payload: bytes) -> None:
    if flags & frames.ACK:
        if payload:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "An acknowledgement of SETTINGS with a payload.")
        connection.on_settings_acknowledged()
        return
    for key, value in frames.read_settings(payload):
        if key == Setting.MAX_CONCURRENT_STREAMS:
            connection.peer_streams = value
        elif key == Setting.INITIAL_WINDOW_SIZE:
            connection.outbox.change_initial_window(value, list(connection.streams.values()))
        elif key == Setting.MAX_FRAME_SIZE:
            connection.outbox.max_frame = value
        elif key == Setting.MAX_HEADER_LIST_SIZE:
            connection.max_header_bytes = value
    connection.outbox.control(frames.frame(frames.SETTINGS, frames.ACK, 0))
    connection.on_settings()


def _leave(connection: Connection, payload: bytes) -> None:
    """GOAWAY: calls above the last stream were not seen; those below go on (RFC 9113 6.8)."""
    if len(payload) < 8:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes.")
    last, code = frames.read_uint32(payload) & frames.LAST_STREAM_ID, frames.read_uint32(payload, 4)
    if code == ErrorCode.ENHANCE_YOUR_CALM and payload[8:] == b"too_many_pings":
        connection.pinged_too_much = True
    unseen = [stream for stream_id, stream in connection.streams.items() if stream_id > last]
    for stream in unseen:
        connection.forget(stream)
        stream.failed(Unprocessed(f"The upstream went away before it saw the call: {name_of(code)}."))
    connection.drain()
