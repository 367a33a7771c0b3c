"""Flow control of the HTTP/2 client: the peer's windows are kept to, and ours are given as messages are read."""

from __future__ import annotations

import asyncio

import pytest
from grpc import StatusCode

from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.http2 import Http2Options, frames
from answermesh.gateway.upstream.http2.frames import Setting
from tests.wire.scripted_http2 import OK, OPENING, PATH, Peer, calling, data, grpc_message

WINDOW = Setting.INITIAL_WINDOW_SIZE
MESSAGE = bytes(range(256)) * 8
WHOLE = grpc_message(MESSAGE)


async def take(peer: Peer, *, step: int = 0, of_connection: int = 0) -> bytes:
    """The body of the next call, with `step` more bytes allowed after each frame."""
    stream_id, body, ended = await peer.request(), b"", False
    while not ended:
        frame = await peer.until(frames.DATA)
        body += frame.payload
        ended = frame.flags & frames.END_STREAM != 0
        if not ended and step:
            peer.send(frames.window_update(stream_id, step))
        if not ended and of_connection:
            peer.send(frames.window_update(0, of_connection))
    peer.send(peer.answer(stream_id))
    return body


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_a_message_goes_out_as_the_streams_window_allows(size: int) -> None:
    bodies: list[bytes] = []

    async def behavior(peer: Peer) -> None:
        bodies.append(await take(peer, step=size))
        assert max(len(frame.payload) for frame in peer.seen if frame.kind == frames.DATA) <= size
        await peer.drain()

    async with calling(behavior, {WINDOW: size}) as upstream:
        assert (await upstream.unary(PATH, MESSAGE, (), 20.0)).message == b"answer"
    assert bodies == [WHOLE]


async def test_the_window_of_the_connection_holds_for_all_its_calls() -> None:
    large = b"x" * 100_000
    full = 0

    async def behavior(peer: Peer) -> None:
        nonlocal full
        taken = 0
        ended: list[int] = []
        while len(ended) < 2:
            frame = await peer.until(frames.DATA)
            taken += len(frame.payload)
            assert taken <= frames.DEFAULT_WINDOW
            if frame.flags & frames.END_STREAM:
                ended.append(frame.stream_id)
            if taken == frames.DEFAULT_WINDOW:
                full, taken = full + 1, 0
                peer.send(frames.window_update(0, frames.DEFAULT_WINDOW))
        peer.send(*(peer.answer(stream_id) for stream_id in ended))
        await peer.drain()

    async with calling(behavior, {WINDOW: 1 << 20}) as upstream:
        replies = await asyncio.gather(*(upstream.unary(PATH, large, (), 20.0) for _ in range(2)))
    assert [reply.message for reply in replies] == [b"answer"] * 2
    assert full == 3


async def test_a_changed_initial_window_counts_for_open_streams_and_may_make_them_negative() -> None:
    async def behavior(peer: Peer) -> None:
        stream_id = await peer.request()
        first = await peer.until(frames.DATA)
        assert len(first.payload) == 1000
        peer.send(frames.settings({WINDOW: 400}))
        # 600 are owed now: this makes them 0, which is no room.
        peer.send(frames.window_update(stream_id, 600))
        peer.send(frames.frame(frames.PING, 0, 0, b"12345678"))
        assert (await peer.until(frames.PING, frames.DATA)).kind == frames.PING
        peer.send(frames.settings({WINDOW: 10_000}))
        rest = b""
        while len(rest) < len(WHOLE) - 1000:
            rest += (await peer.until(frames.DATA)).payload
        assert first.payload + rest == WHOLE
        peer.send(peer.answer(stream_id))
        await peer.drain()

    async with calling(behavior, {WINDOW: 1000}) as upstream:
        assert (await upstream.unary(PATH, MESSAGE, (), 20.0)).message == b"answer"


async def test_frames_are_as_large_as_the_peer_takes_them() -> None:
    large = b"x" * 60_000

    async def behavior(peer: Peer) -> None:
        await take(peer)
        assert max(len(frame.payload) for frame in peer.seen if frame.kind == frames.DATA) == 50_000
        await peer.drain()

    settings = {WINDOW: 1 << 20, Setting.MAX_FRAME_SIZE: 50_000}
    async with calling(behavior, settings) as upstream:
        assert (await upstream.unary(PATH, large, (), 20.0)).message == b"answer"


async def test_headers_larger_than_a_frame_go_on_in_continuations() -> None:
    metadata = tuple((f"name{number}", "v" * 1000) for number in range(40))

    async def behavior(peer: Peer) -> None:
        first = await peer.until(frames.HEADERS)
        block = first.payload
        while not (frame := await peer.until(frames.CONTINUATION)).flags & frames.END_HEADERS:
            block += frame.payload
        fields = dict(peer.decoder.decode(block + frame.payload))
        assert [fields[name] for name, _ in metadata] == [value for _, value in metadata]
        await peer.until(frames.DATA)
        peer.send(peer.answer(first.stream_id))
        await peer.drain()

    async with calling(behavior) as upstream:
        assert (await upstream.unary(PATH, b"", metadata, 20.0)).message == b"answer"


async def test_metadata_over_what_the_peer_takes_is_not_sent() -> None:
    async def behavior(peer: Peer) -> None:
        peer.send(peer.answer(await peer.whole_request()))
        await peer.drain()

    async with calling(behavior, {Setting.MAX_HEADER_LIST_SIZE: 2000}) as upstream:
        with pytest.raises(CallError, match="2000 bytes") as raised:
            await upstream.unary(PATH, b"", (("large", "v" * 2000),), 20.0)
        assert raised.value.code is StatusCode.RESOURCE_EXHAUSTED
        assert (await upstream.unary(PATH, b"", (), 20.0)).message == b"answer"


async def test_a_request_that_the_peer_never_takes_ends_at_its_deadline() -> None:
    async def behavior(peer: Peer) -> None:
        stream_id = await peer.request()
        reset = await peer.until(frames.RST_STREAM)
        assert (reset.stream_id, frames.read_uint32(reset.payload)) == (stream_id, frames.ErrorCode.CANCEL)
        await peer.drain()

    async with calling(behavior, {WINDOW: 10}) as upstream:
        with pytest.raises(CallError) as raised:
            await upstream.unary(PATH, MESSAGE, (), 0.2)
        assert raised.value.code is StatusCode.DEADLINE_EXCEEDED


async def test_a_write_waits_for_room_and_its_cancelling_leaves_the_call_usable() -> None:
    async def behavior(peer: Peer) -> None:
        stream_id = await peer.request()
        peer.send(peer.headers(stream_id, *OPENING))
        body = (await peer.until(frames.DATA)).payload
        assert len(body) == 10
        peer.send(data(stream_id, grpc_message(b"go on")))
        await asyncio.wait_for(cancelled.wait(), 10)
        peer.send(frames.window_update(stream_id, 1 << 20))
        while not (frame := await peer.until(frames.DATA)).flags & frames.END_STREAM:
            body += frame.payload
        assert body == WHOLE + grpc_message(b"more")
        peer.send(peer.headers(stream_id, ("grpc-status", "0"), end=True))
        await peer.drain()

    cancelled = asyncio.Event()
    async with calling(behavior, {WINDOW: 10}) as upstream, upstream.stream(PATH, (), 20.0) as call:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await call.write(MESSAGE)
        assert list(await call.read()) == [b"go on"]
        cancelled.set()
        await call.write(b"more")
        await call.done_writing()
        assert not await call.read()


async def test_a_reader_that_takes_nothing_stops_the_peer_and_one_that_reads_lets_it_go_on() -> None:
    window = 10_000
    options = Http2Options(health_service=None, stream_window_bytes=window)
    sent = asyncio.Event()

    async def behavior(peer: Peer) -> None:
        stream_id = await peer.whole_request()
        peer.send(peer.headers(stream_id, *OPENING))
        peer.send(*[data(stream_id, grpc_message(b"x" * 95)) for _ in range(window // 100)])
        peer.send(frames.frame(frames.PING, 0, 0, b"12345678"))
        assert (await peer.until(frames.PING, frames.WINDOW_UPDATE)).kind == frames.PING
        sent.set()
        update = await peer.until(frames.WINDOW_UPDATE)
        assert (update.stream_id, frames.read_uint32(update.payload)) == (stream_id, window)
        peer.send(peer.headers(stream_id, ("grpc-status", "0"), end=True))
        await peer.drain()

    async with calling(behavior, options=options) as upstream, upstream.stream(PATH, (), 20.0, b"") as call:
        await asyncio.wait_for(sent.wait(), 10)
        assert len(await call.read()) == 100
        assert not await call.read()


async def test_messages_close_together_are_read_together_and_a_unary_call_is_not_kept_waiting() -> None:
    unary = asyncio.Event()

    async def behavior(peer: Peer) -> None:
        stream_id = await peer.whole_request()
        peer.send(peer.headers(stream_id, *OPENING))
        for number in range(200):
            peer.send(data(stream_id, grpc_message(b"%d" % number)))
            await peer.writer.drain()
            await asyncio.sleep(0)
        unary.set()
        second = await peer.whole_request()
        peer.send(peer.headers(second, *OPENING), data(second, grpc_message(b"one")))
        peer.send(peer.headers(second, *OK, end=True))
        peer.send(data(stream_id, grpc_message(b"200")), peer.headers(stream_id, *OK, end=True))
        await peer.drain()

    async with calling(behavior) as upstream, upstream.stream(PATH, (), 20.0, b"") as call:
        messages = list(await call.read())
        await asyncio.wait_for(unary.wait(), 10)
        assert (await upstream.unary(PATH, b"", (), 10.0)).message == b"one"
        while batch := await call.read():
            messages += batch
        assert messages == [b"%d" % number for number in range(201)]


async def test_a_connection_that_goes_during_a_rest_ends_its_calls() -> None:
    async def behavior(peer: Peer) -> None:
        stream_id = await peer.whole_request()
        peer.send(peer.headers(stream_id, *OPENING))
        for number in range(50):
            peer.send(data(stream_id, grpc_message(b"%d" % number)))
            await peer.writer.drain()
            await asyncio.sleep(0)

    async with calling(behavior) as upstream, upstream.stream(PATH, (), 20.0, b"") as call:
        with pytest.raises(CallError) as raised:
            while await call.read():
                pass
        assert raised.value.code is StatusCode.UNAVAILABLE


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_message_larger_than_the_window_comes_through_to_one_who_waits_for_it(streaming: bool) -> None:
    window, large = 10_000, b"y" * 100_000
    options = Http2Options(health_service=None, stream_window_bytes=window)

    async def behavior(peer: Peer) -> None:
        stream_id = await peer.whole_request()
        peer.send(peer.headers(stream_id, *OPENING))
        whole, room = grpc_message(large), window
        while whole:
            size = min(room, 3000, len(whole))
            if not size:
                room += frames.read_uint32((await peer.until(frames.WINDOW_UPDATE)).payload)
                continue
            peer.send(data(stream_id, whole[:size]))
            whole, room = whole[size:], room - size
        peer.send(peer.headers(stream_id, ("grpc-status", "0"), end=True))
        await peer.drain()

    async with calling(behavior, options=options) as upstream:
        if streaming:
            async with upstream.stream(PATH, (), 20.0, b"") as call:
                assert list(await call.read()) == [large]
        else:
            assert (await upstream.unary(PATH, b"", (), 20.0)).message == large


async def test_more_than_the_window_allows_ends_the_call() -> None:
    async def behavior(peer: Peer) -> None:
        stream_id = await peer.whole_request()
        peer.send(peer.headers(stream_id, *OPENING), *[data(stream_id, grpc_message(b"x" * 995))] * 12)
        assert frames.read_uint32((await peer.until(frames.RST_STREAM)).payload) == frames.ErrorCode.FLOW_CONTROL_ERROR
        await peer.drain()

    options = Http2Options(health_service=None, stream_window_bytes=10_000)
    async with calling(behavior, options=options) as upstream, upstream.stream(PATH, (), 20.0, b"") as call:
        await call.headers()
        with pytest.raises(CallError) as raised:
            while await call.read():
                pass
        assert raised.value.code is StatusCode.INTERNAL


async def test_what_is_kept_for_slow_readers_is_bounded_for_all_together() -> None:
    async def behavior(peer: Peer) -> None:
        for _ in range(3):
            stream_id = await peer.whole_request()
            peer.send(peer.headers(stream_id, *OPENING), *[data(stream_id, grpc_message(b"x" * 995))] * 5)
        assert (await peer.until(frames.RST_STREAM)).stream_id == stream_id
        await peer.drain()

    options = Http2Options(health_service=None, max_buffered_bytes=12_000)
    async with calling(behavior, options=options) as upstream:
        calls = [upstream.stream(PATH, (), 20.0, b"") for _ in range(3)]
        for call in calls:
            await call.__aenter__()
        with pytest.raises(CallError) as raised:
            while await calls[2].read():
                pass
        assert raised.value.code is StatusCode.RESOURCE_EXHAUSTED
        assert len(await calls[0].read()) == 5
        for call in calls:
            await call.__aexit__(None, None, None)


async def test_data_of_a_call_that_is_over_counts_for_the_connection() -> None:
    """Else the peer would run out of room for all other calls."""
    options = Http2Options(health_service=None, connection_window_bytes=1 << 17)

    async def behavior(peer: Peer) -> None:
        stream_id = await peer.whole_request()
        await peer.until(frames.RST_STREAM)
        peer.send(peer.headers(stream_id, *OPENING), *[data(stream_id, b"x" * 16384)] * 4)
        update = await peer.until(frames.WINDOW_UPDATE)
        assert (update.stream_id, frames.read_uint32(update.payload)) == (0, 1 << 16)
        given.set()
        peer.send(peer.answer(await peer.whole_request()))
        await peer.drain()

    given = asyncio.Event()
    async with calling(behavior, options=options) as upstream:
        with pytest.raises(CallError):
            await upstream.unary(PATH, b"", (), 0.1)
        await asyncio.wait_for(given.wait(), 10)
        assert (await upstream.unary(PATH, b"", (), 20.0)).message == b"answer"
