"""How calls and connections of the HTTP/2 client end: resets, going away, hung peers, cancelling, and nothing left."""

from __future__ import annotations

import asyncio
import gc

import pytest
from grpc import StatusCode

from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.http2 import Http2Options, Http2Upstream, Keepalive, frames
from answermesh.gateway.upstream.http2.frames import ErrorCode, Setting
from tests.wire.scripted_http2 import OPENING, PATH, Peer, calling, data, goaway, grpc_message, scripted

QUICK = Http2Options(health_service=None, keepalive=Keepalive(time_s=0.1, timeout_s=0.2))


@pytest.mark.parametrize(
    ("reset", "code"),
    [
        (ErrorCode.NO_ERROR, StatusCode.INTERNAL),
        (ErrorCode.PROTOCOL_ERROR, StatusCode.INTERNAL),
        (ErrorCode.INTERNAL_ERROR, StatusCode.INTERNAL),
        (ErrorCode.FLOW_CONTROL_ERROR, StatusCode.INTERNAL),
        (ErrorCode.CANCEL, StatusCode.CANCELLED),
        (ErrorCode.ENHANCE_YOUR_CALM, StatusCode.RESOURCE_EXHAUSTED),
        (ErrorCode.INADEQUATE_SECURITY, StatusCode.PERMISSION_DENIED),
        (ErrorCode.HTTP_1_1_REQUIRED, StatusCode.UNKNOWN),
        (77, StatusCode.UNKNOWN),
    ],
)
async def test_a_reset_has_the_status_that_grpc_maps_it_to(reset: int, code: StatusCode) -> None:
    async def behavior(peer: Peer) -> None:
        while True:
            stream_id = await peer.whole_request()
            peer.send(frames.frame(frames.RST_STREAM, 0, stream_id, reset.to_bytes(4, "big")))

    async with calling(behavior) as upstream:
        with pytest.raises(CallError) as raised:
            await upstream.unary(PATH, b"", (), 10.0)
        assert raised.value.code is code


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_refused_call_is_made_once_more(streaming: bool) -> None:
    async def behavior(peer: Peer) -> None:
        stream_id = await peer.whole_request()
        peer.send(frames.reset(stream_id, ErrorCode.REFUSED_STREAM))
        peer.send(peer.answer(await peer.whole_request()))
        await peer.drain()

    async with calling(behavior) as upstream:
        if streaming:
            async with upstream.stream(PATH, (), 10.0) as call:
                await call.write(b"x")
                await call.done_writing()
                assert list(await call.read()) == [b"answer"]
        else:
            assert (await upstream.unary(PATH, b"", (), 10.0)).message == b"answer"


async def test_a_call_refused_twice_is_unavailable() -> None:
    calls = 0

    async def behavior(peer: Peer) -> None:
        nonlocal calls
        while True:
            stream_id = await peer.whole_request()
            calls += 1
            peer.send(frames.reset(stream_id, ErrorCode.REFUSED_STREAM))

    async with calling(behavior) as upstream:
        with pytest.raises(CallError) as raised:
            await upstream.unary(PATH, b"", (), 10.0)
        assert raised.value.code is StatusCode.UNAVAILABLE
    assert calls == 2


async def test_a_call_that_a_server_going_away_did_not_see_is_made_elsewhere_and_the_seen_one_finishes() -> None:
    connections = 0

    async def behavior(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        if connections > 1:
            while True:
                peer.send(peer.answer(await peer.whole_request(), b"second"))
        seen = await peer.whole_request()
        unseen = await peer.whole_request()
        # In two steps, as gRPC's servers do.
        peer.send(goaway(frames.LAST_STREAM_ID))
        peer.send(frames.frame(frames.PING, 0, 0, b"drained?"))
        await peer.until(frames.PING)
        peer.send(goaway(unseen - 2))
        await asyncio.wait_for(elsewhere.wait(), 10)
        peer.send(peer.answer(seen, b"first"))
        await peer.drain()

    elsewhere = asyncio.Event()
    async with calling(behavior) as upstream:
        first = asyncio.create_task(upstream.unary(PATH, b"", (), 20.0))
        await asyncio.sleep(0)
        second = asyncio.create_task(upstream.unary(PATH, b"", (), 20.0))
        assert (await second).message == b"second"
        assert (await upstream.unary(PATH, b"", (), 20.0)).message == b"second"
        elsewhere.set()
        assert (await first).message == b"first"
        assert upstream.connections["draining"] <= 1
    assert connections == 2


async def test_a_lost_connection_fails_its_calls_and_the_next_call_finds_a_new_one() -> None:
    connections = 0

    async def behavior(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        stream_id = await peer.whole_request()
        if connections == 1:
            peer.send(peer.headers(stream_id, *OPENING)[:-3])
            return
        peer.send(peer.answer(stream_id))
        await peer.drain()

    async with calling(behavior) as upstream:
        with pytest.raises(CallError) as raised:
            await upstream.unary(PATH, b"", (), 10.0)
        assert raised.value.code is StatusCode.UNAVAILABLE
        assert (await upstream.unary(PATH, b"", (), 10.0)).message == b"answer"
        assert upstream.reconnects == 1


async def test_what_came_before_a_loss_can_still_be_read() -> None:
    async def behavior(peer: Peer) -> None:
        stream_id = await peer.whole_request()
        peer.send(peer.headers(stream_id, *OPENING), data(stream_id, grpc_message(b"one")))

    async with calling(behavior) as upstream, upstream.stream(PATH, (), 10.0, b"") as call:
        assert list(await call.read()) == [b"one"]
        with pytest.raises(CallError) as raised:
            await call.read()
        assert raised.value.code is StatusCode.UNAVAILABLE


async def test_an_answer_before_the_request_was_whole_ends_the_call_well() -> None:
    async def behavior(peer: Peer) -> None:
        stream_id = await peer.request()
        peer.send(peer.answer(stream_id))
        reset = await peer.until(frames.RST_STREAM)
        assert frames.read_uint32(reset.payload) == ErrorCode.NO_ERROR
        told.set()
        await peer.drain()

    told = asyncio.Event()
    async with calling(behavior) as upstream:
        async with upstream.stream(PATH, (), 10.0) as call:
            assert list(await call.read()) == [b"answer"]
            assert not await call.read()
        await asyncio.wait_for(told.wait(), 10)


async def test_a_peer_that_hangs_is_noticed_while_calls_wait() -> None:
    async def behavior(peer: Peer) -> None:
        await peer.whole_request()
        await asyncio.Event().wait()

    async with calling(behavior, options=QUICK) as upstream:
        with pytest.raises(CallError, match="does not answer") as raised:
            await upstream.unary(PATH, b"", (), 20.0)
        assert raised.value.code is StatusCode.UNAVAILABLE


async def test_a_peer_that_answers_pings_may_take_its_time_and_an_idle_one_is_not_pinged() -> None:
    async def behavior(peer: Peer) -> None:
        stream_id = await peer.whole_request()
        ping = await peer.until(frames.PING)
        peer.send(frames.frame(frames.PING, frames.ACK, 0, ping.payload))
        ping = await peer.until(frames.PING)
        peer.send(frames.frame(frames.PING, frames.ACK, 0, ping.payload), peer.answer(stream_id))
        answered.set()
        await peer.drain()
        assert [frame.kind for frame in peer.seen[peer.seen.index(ping) + 1 :]].count(frames.PING) == 0

    answered = asyncio.Event()
    async with calling(behavior, options=QUICK) as upstream:
        assert (await upstream.unary(PATH, b"", (), 20.0)).message == b"answer"
        await asyncio.sleep(0.5)  # the time in which pings would come


async def test_a_server_that_counts_pings_gets_fewer() -> None:
    pings: list[int] = []

    async def behavior(peer: Peer) -> None:
        pings.append(0)
        mine = len(pings) - 1
        stream_id = await peer.whole_request()
        ping = await peer.until(frames.PING)
        pings[mine] += 1
        if mine == 0:
            peer.send(goaway(stream_id, ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings"))
            return
        peer.send(frames.frame(frames.PING, frames.ACK, 0, ping.payload), peer.answer(stream_id))
        await peer.drain()

    async with calling(behavior, options=QUICK) as upstream:
        with pytest.raises(CallError):
            await upstream.unary(PATH, b"", (), 20.0)
        assert (await upstream.unary(PATH, b"", (), 20.0)).message == b"answer"
        (link,) = upstream._pool.links
        assert link._keepalive.time_s == 2 * QUICK.keepalive.time_s
    assert pings == [1, 1]


async def test_frames_of_a_cancelled_call_may_come_late() -> None:
    async def behavior(peer: Peer) -> None:
        stream_id = await peer.whole_request()
        assert (await peer.until(frames.RST_STREAM)).stream_id == stream_id
        peer.send(
            peer.answer(stream_id), frames.window_update(stream_id, 10), frames.reset(stream_id, ErrorCode.CANCEL)
        )
        peer.send(peer.answer(await peer.whole_request()))
        await peer.drain()

    async with calling(behavior) as upstream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await upstream.unary(PATH, b"", (), 20.0)
        assert (await upstream.unary(PATH, b"", (), 20.0)).message == b"answer"
        assert upstream.reconnects == 0


async def test_calls_beyond_what_the_peer_allows_wait_in_line_and_up_to_their_deadline() -> None:
    async def behavior(peer: Peer) -> None:
        open_calls = 0
        while True:
            frame = await peer.until(frames.HEADERS, frames.RST_STREAM)
            open_calls += 1 if frame.kind == frames.HEADERS else -1
            assert open_calls <= 2
            if open_calls == 2:
                full.set()
            if free.is_set():
                peer.send(peer.answer(frame.stream_id))
                open_calls -= 1

    free, full = asyncio.Event(), asyncio.Event()
    options = Http2Options(health_service=None, max_connections=1, max_waiting=50)
    async with calling(behavior, {Setting.MAX_CONCURRENT_STREAMS: 2}, options) as upstream:
        hung = [asyncio.create_task(upstream.unary(PATH, b"", (), 20.0)) for _ in range(2)]
        await asyncio.wait_for(full.wait(), 10)
        with pytest.raises(CallError) as raised:
            await upstream.unary(PATH, b"", (), 0.1)
        assert raised.value.code is StatusCode.DEADLINE_EXCEEDED
        waiting = [asyncio.create_task(upstream.unary(PATH, b"%d" % number, (), 20.0)) for number in range(50)]
        await asyncio.sleep(0)
        with pytest.raises(CallError) as raised:
            await upstream.unary(PATH, b"", (), 1.0)
        assert raised.value.code is StatusCode.RESOURCE_EXHAUSTED
        waiting[0].cancel()
        free.set()
        for task in hung:
            task.cancel()
        replies = await asyncio.gather(*waiting[1:])
        assert len(replies) == 49
        assert upstream.calls_waiting == 0


async def test_more_connections_are_made_where_one_is_full() -> None:
    connections = 0

    async def behavior(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        while True:
            await peer.whole_request()
            came.release()

    came = asyncio.Semaphore(0)
    options = Http2Options(health_service=None, max_connections=3)
    async with calling(behavior, {Setting.MAX_CONCURRENT_STREAMS: 2}, options) as upstream:
        tasks = [asyncio.create_task(upstream.unary(PATH, b"", (), 20.0)) for _ in range(10)]
        for _ in range(6):
            await asyncio.wait_for(came.acquire(), 10)
        assert upstream.calls_waiting == 4
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert connections == 3


async def test_closing_ends_the_calls_under_way() -> None:
    async def behavior(peer: Peer) -> None:
        await peer.whole_request()
        came.set()
        await peer.drain()

    came = asyncio.Event()
    async with scripted(behavior) as target:
        upstream = Http2Upstream(target, Http2Options(health_service=None))
        task = asyncio.create_task(upstream.unary(PATH, b"", (), 20.0))
        await asyncio.wait_for(came.wait(), 10)
        before = asyncio.all_tasks()
        await upstream.aclose()
        with pytest.raises(CallError) as raised:
            await task
        assert raised.value.code is StatusCode.UNAVAILABLE
        with pytest.raises(CallError) as raised:
            await upstream.unary(PATH, b"", (), 20.0)
        assert raised.value.code is StatusCode.CANCELLED
        assert not [one for one in before if not one.done() and one.get_name().startswith("keeps ")]


@pytest.mark.parametrize("streaming", [False, True])
async def test_sixty_thousand_cancelled_calls_leave_nothing(streaming: bool) -> None:
    async def behavior(peer: Peer) -> None:
        while await peer.reader.read(1 << 16):
            pass

    async with calling(behavior) as upstream:

        async def one() -> None:
            if streaming:
                async with upstream.stream(PATH, (), 60.0, b"x" * 100):
                    await asyncio.sleep(0)
            else:
                await upstream.unary(PATH, b"x" * 100, (), 60.0)

        async def batch() -> None:
            tasks = [asyncio.create_task(one()) for _ in range(500)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

        def objects() -> int:
            gc.collect()
            return len(gc.get_objects())

        for _ in range(4):
            await batch()
        tasks, before = len(asyncio.all_tasks()), objects()
        for _ in range(60):
            await batch()
        assert upstream.calls_in_flight == 0
        assert len(asyncio.all_tasks()) == tasks
        assert objects() - before < 500
