"""The HTTP/1.1 face on real sockets: framing, pipelining, slow and broken clients, draining."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from answermesh.gateway.http.exchange import Exchange
from answermesh.gateway.http.listener import bind
from answermesh.gateway.http.server import Server
from answermesh.gateway.options import Options
from answermesh.gateway.status import CallError

Answer = Callable[[Exchange], Awaitable[None]]
_GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
_SOON_S = 10.0


async def _echo(exchange: Exchange) -> None:
    body = await exchange.body()
    await exchange.answer(200, "text/plain", b"%b %b" % (exchange.path.encode(), body))


class _Answering:
    """Answers as told; keeps what it was asked and how that ended."""

    def __init__(self, answer: Answer, options: Options) -> None:
        self.options = options
        self.seen: list[Exchange] = []
        self.cancelled = asyncio.Event()
        self._answer = answer

    def begin(self, exchange: Exchange, finished: Callable[[bool], None]) -> None:
        """All are handled."""

    async def handle(self, exchange: Exchange) -> None:
        self.seen.append(exchange)
        try:
            if exchange.refusal is not None:
                raise exchange.refusal
            await self._answer(exchange)
        except CallError as error:
            if not exchange.started:
                await exchange.answer(error.http_status, "text/plain", error.message.encode())
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    def drain(self) -> None:
        for exchange in self.seen:
            if exchange.started:
                exchange.cut()


@asynccontextmanager
async def serving(answer: Answer = _echo, **options: float) -> AsyncIterator[tuple[_Answering, str]]:
    answering = _Answering(answer, replace(Options(), **options))
    bound, address = bind("127.0.0.1:0")
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(Server(answering).serve(bound))
        yield answering, address
        serving.cancel()


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(_SOON_S):
            yield reader, writer
    finally:
        writer.close()


async def _talk(address: str, *sent: bytes) -> bytes:
    """All that comes back until the server closes."""
    async with connected(address) as (reader, writer):
        for part in sent:
            writer.write(part)
            await asyncio.sleep(0)
        return await reader.read()


def _bodies(answer: bytes) -> list[bytes]:
    return [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 ")[1:]]


async def test_requests_sent_together_are_answered_in_their_order() -> None:
    async with serving() as (_, address):
        post = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz"
        last = b"GET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        assert _bodies(await _talk(address, _GET + post + last)) == [b"/a ", b"/b xyz", b"/c "]


async def test_a_request_may_come_byte_by_byte() -> None:
    async with serving() as (_, address), connected(address) as (reader, writer):
        for byte in b"POST /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi":
            writer.write(bytes((byte,)))
            await writer.drain()
        assert _bodies(await reader.read()) == [b"/b hi"]


async def test_many_requests_ahead_stop_the_reading_and_are_all_answered() -> None:
    async with serving() as (_, address):
        answer = await _talk(address, _GET * 500 + b"GET /z HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert _bodies(answer) == [b"/a "] * 500 + [b"/z "]


async def test_trailers_are_not_headers() -> None:
    async with serving() as (answering, address):
        await _talk(
            address,
            b"POST /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nhi\r\n0\r\nAuthorization: stolen\r\n\r\n",
        )
        assert b"authorization" not in dict(answering.seen[0].raw_headers)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: \0\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_answered_400_and_ends_the_connection(request_bytes: bytes) -> None:
    async with serving() as (answering, address):
        answer = await _talk(address, request_bytes + _GET)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert len(answering.seen) == 1


async def test_the_requests_before_a_broken_one_are_still_answered() -> None:
    async with serving() as (_, address):
        answer = await _talk(address, _GET + b"broken\r\n\r\n")
        assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]


async def test_a_head_without_end_is_431() -> None:
    async with serving(max_header_bytes=1000, max_url_bytes=1000) as (_, address):
        assert (await _talk(address, b"GET / HTTP/1.1\r\nHost: h\r\n", b"A: " + b"x" * 3000)).startswith(
            b"HTTP/1.1 431"
        )


async def test_a_client_that_does_not_send_what_it_began_is_cut_off() -> None:
    async with serving(head_timeout_s=0.1, stall_s=0.1, keep_alive_s=0.1) as (_, address):
        assert await _talk(address) == b""
        assert (await _talk(address, b"GET / HT")).startswith(b"HTTP/1.1 408")
        half = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc"
        assert (await _talk(address, half)).startswith(b"HTTP/1.1 408")


async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.start(200, [])
        while True:
            await exchange.write(b"x" * 65536)

    async with serving(endless, stall_s=0.2) as (answering, address), connected(address) as (_, writer):
        writer.transport.pause_reading()
        writer.write(_GET)
        await answering.cancelled.wait()


async def test_hanging_up_cancels_whoever_answers() -> None:
    began = asyncio.Event()

    async def never(exchange: Exchange) -> None:
        began.set()
        await asyncio.Event().wait()

    async with serving(never) as (answering, address):
        async with connected(address) as (_, writer):
            writer.write(_GET)
            await began.wait()
        await asyncio.wait_for(answering.cancelled.wait(), _SOON_S)


async def test_an_answer_before_the_bodys_end_reaches_a_client_that_still_sends() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(413, "text/plain", b"too much")

    async with serving(refuse) as (_, address), connected(address) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 1_000_000)
        answer = await reader.read()
        assert answer.endswith(b"too much")
        assert b"connection: close" in answer


async def test_a_body_is_asked_for_where_the_client_waits_to_be_asked() -> None:
    async with serving() as (_, address), connected(address) as (reader, writer):
        writer.write(
            b"POST /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        writer.write(b"hi")
        assert (await reader.read()).endswith(b"/b hi")


async def test_a_cut_answer_never_looks_whole() -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.start(200, [])
        await exchange.write(b"[1")

    async with serving(half) as (_, address):
        assert not (await _talk(address, _GET)).endswith(b"0\r\n\r\n")
        # HTTP/1.0 has no chunks: the end of the connection would be the end of the answer.
        with pytest.raises(ConnectionResetError):
            await _talk(address, b"GET / HTTP/1.0\r\n\r\n")


async def test_an_upgrade_is_not_taken_and_the_connection_stays_usable() -> None:
    async with serving() as (_, address):
        upgrade = b"GET /up HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
        last = b"GET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        assert _bodies(await _talk(address, upgrade + last)) == [b"/up ", b"/c "]


async def test_a_target_with_scheme_and_host_is_served_by_its_path() -> None:
    async with serving() as (_, address):
        target = b"GET http://h/x/y?q=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        assert _bodies(await _talk(address, target)) == [b"/x/y "]


async def test_stopping_ends_idle_connections_and_waits_for_answers() -> None:
    let_go = asyncio.Event()
    began = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        began.set()
        await let_go.wait()
        await exchange.answer(200, "text/plain", b"done")

    answering = _Answering(slow, Options())
    bound, address = bind("127.0.0.1:0")
    server = asyncio.ensure_future(Server(answering).serve(bound))
    async with connected(address) as (idle, _), connected(address) as (busy, writer):
        writer.write(_GET)
        await began.wait()
        server.cancel()
        assert await idle.read() == b""
        let_go.set()
        assert (await busy.read()).endswith(b"done")
    with pytest.raises(asyncio.CancelledError):
        await server


async def test_a_client_beyond_the_most_is_told_to_come_later() -> None:
    async with serving(max_connections=1) as (_, address), connected(address) as (reader, writer):
        writer.write(_GET)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert b"503" in (await _talk(address)).partition(b"\r\n")[0]
    async with serving(max_connections=1) as (_, address):
        last = b"GET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        assert [_bodies(await _talk(address, last)) for _ in range(3)] == [[b"/c "]] * 3
