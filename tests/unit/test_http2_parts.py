"""The decisions of the HTTP/2 client: pings, pauses, request headers, timeouts, remembered header blocks."""

from __future__ import annotations

import itertools

import pytest
from hpack import Decoder, Encoder
from hpack.hpack import decode_integer
from hypothesis import given
from hypothesis import strategies as st

from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.http2.backoff import pause_s
from answermesh.gateway.upstream.http2.frames import ConnectionFault
from answermesh.gateway.upstream.http2.messages import Assembler
from answermesh.gateway.upstream.http2.meter import Meter
from answermesh.gateway.upstream.http2.options import MESH_KEEPALIVE, Backoff, Keepalive
from answermesh.gateway.upstream.http2.pings import Pings
from answermesh.gateway.upstream.http2.requests import RequestHeaders, grpc_timeout, integer
from answermesh.gateway.upstream.http2.responses import HeadDecoder
from answermesh.gateway.upstream.http2.resting import Rests

KEEPALIVE = Keepalive(time_s=10.0, timeout_s=5.0, early_pings=2, slow_s=300.0)


class Clock:
    """Runs the checks of one connection as its timer would."""

    def __init__(self, keepalive: Keepalive = KEEPALIVE) -> None:
        self.pings = Pings(keepalive, 0.0)
        self.now = 0.0
        self.heard_at = 0.0
        self.news = False
        self.last_stream_id = 1

    def run(self, until: float, *, busy: bool = True, answers: bool = True) -> list[tuple[float, str]]:
        """What is decided, and when; a ping is answered at once, or never."""
        decided: list[tuple[float, str]] = []
        while (at := self.pings.plan(self.now, busy=busy, last_stream_id=self.last_stream_id)) <= until:
            self.now = at
            news, self.news = self.news, False
            decision = self.pings.check(at, self.heard_at, busy=busy, has_news=news, last_stream_id=self.last_stream_id)
            if decision:
                decided.append((at, decision))
            if decision == "ping" and answers:
                self.heard_at = at + 0.001
            if decision == "lost":
                break
        self.now = until
        return decided


def test_a_hung_peer_is_lost_after_interval_and_timeout() -> None:
    assert Clock().run(100.0, answers=False) == [(10.0, "ping"), (15.0, "lost")]


def test_a_quiet_peer_that_answers_gets_no_more_pings_than_any_server_allows() -> None:
    """Any gRPC server takes one in 5 minutes and two more since it last sent headers or data."""
    pings = [at for at, _ in Clock().run(3000.0)]
    assert len(pings) >= 10
    assert pings[0] == 10.0
    too_soon = sum(later - earlier < 300.0 for earlier, later in itertools.pairwise(pings))
    assert too_soon <= 2


def test_a_new_call_on_a_quiet_connection_gets_its_ping_and_news_gets_all_anew() -> None:
    clock = Clock()
    clock.run(100.0)
    assert clock.run(200.0) == []
    clock.last_stream_id = 3
    assert [decision for _, decision in clock.run(230.0)] == ["ping"]
    clock.news, clock.heard_at = True, 230.0
    assert len(clock.run(300.0)) == 2


def test_an_idle_connection_is_not_pinged() -> None:
    assert Clock().run(1000.0, busy=False) == []


def test_servers_of_the_mesh_are_pinged_all_the_time() -> None:
    assert len(Clock(MESH_KEEPALIVE).run(100.0)) >= 45


def test_a_loop_that_ran_late_gives_the_peer_more_time() -> None:
    pings = Pings(KEEPALIVE, 0.0)
    assert pings.check(10.0, 0.0, busy=True, has_news=False, last_stream_id=1) == "ping"
    assert pings.plan(10.0, busy=True, last_stream_id=1) == 15.0
    assert pings.check(25.0, 0.0, busy=True, has_news=False, last_stream_id=1) == ""
    at = pings.plan(25.0, busy=True, last_stream_id=1)
    assert pings.check(at, 0.0, busy=True, has_news=False, last_stream_id=1) == "lost"


def rest_s(rests: Rests, now: float, before: float, size: int = 100, calls: int = 3, patient: int = 3) -> float:
    return rests.wanted_s(now, before, size, calls=calls, patient=patient)


def test_only_what_follows_closely_makes_the_socket_rest() -> None:
    rests = Rests()
    assert rest_s(rests, 10.0, 9.9) == 0
    assert rest_s(rests, 10.001, 10.0) == 0.008
    rests.ended(10.009)
    # What had gathered, and then what comes with the next breath.
    assert rest_s(rests, 10.010, 10.001, 4000) == 0.008
    rests.ended(10.018)
    assert rest_s(rests, 10.038, 10.010) == 0


def test_a_unary_call_waits_only_among_many_and_for_less() -> None:
    rests = Rests()
    assert rest_s(rests, 1.001, 1.0, calls=15, patient=14) == 0
    assert rest_s(rests, 1.001, 1.0, calls=16, patient=0) == 0.001
    assert rest_s(rests, 1.001, 1.0, calls=16, patient=15) == 0.001
    assert rest_s(rests, 1.001, 1.0, calls=0, patient=0) == 0


def test_a_large_transfer_is_not_held_up_twice() -> None:
    rests = Rests()
    assert rest_s(rests, 1.001, 1.0)
    rests.ended(1.005)
    assert not rest_s(rests, 1.006, 1.001, 200_000)
    assert not rest_s(rests, 1.007, 1.006, 200_000)
    assert not rest_s(rests, 1.050, 1.049)
    assert rest_s(rests, 1.061, 1.060)


def test_pauses_grow_to_their_bound_and_are_spread() -> None:
    backoff = Backoff(first_s=0.1, most_s=2.0, factor=2.0, jitter=0.5)
    assert pause_s(backoff, 0, 0.5) == 0.0
    assert [pause_s(backoff, failures, 0.5) for failures in (1, 2, 3, 10, 10**6)] == [0.1, 0.2, 0.4, 2.0, 2.0]
    assert (pause_s(backoff, 1, 0.0), pause_s(backoff, 1, 1.0)) == pytest.approx((0.05, 0.15))


def test_allowances_are_used_up_and_come_back() -> None:
    meter = Meter(0.0)
    assert all(meter.allows(0.0) for _ in range(10_000))
    assert not meter.allows(0.0)
    assert meter.allows(1.0)


@pytest.mark.parametrize(
    ("timeout_s", "text"),
    [(0.0, "1u"), (0.3, "300000u"), (5.0, "5000000u"), (60.0, "60000000u"), (3600.0, "3600000m"), (1e6, "1000000S")],
)
def test_timeouts_keep_to_eight_digits_and_are_not_less_than_asked(timeout_s: float, text: str) -> None:
    assert grpc_timeout(timeout_s) == text


def test_a_request_says_what_grpc_asks_for() -> None:
    headers = RequestHeaders("https", "name:1")
    long = "v" * 300
    for _ in range(2):
        block = headers.block("/a.B/C", (("k", "v"), ("long", long), ("x-bin", b"\x00\xff\x01")), 1.5)
        assert [(str(name), str(value)) for name, value in Decoder().decode(block)] == [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "name:1"),
            (":path", "/a.B/C"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "answermesh-gateway"),
            ("grpc-accept-encoding", "identity,gzip"),
            ("grpc-timeout", "1500000u"),
            ("k", "v"),
            ("long", long),
            ("x-bin", "AP8B"),
        ]


@pytest.mark.parametrize("pair", [("Upper", "x"), ("a b", "x"), ("te", "x"), ("grpc-status", "0"), (":path", "/"),
                                  ("k", "a\nb"), ("k", "ö"), ("k", "\x7f"), ("", "x")])  # fmt: skip
def test_metadata_that_may_not_be_sent_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(CallError):
        RequestHeaders("http", "a").block("/a.B/C", (pair,), None)


def test_names_and_timeouts_that_never_come_again_are_not_kept_for_ever() -> None:
    headers = RequestHeaders("http", "a")
    for number in range(5000):
        headers.block(f"/a.B/{number}", ((f"k{number}", "v"),), float(number + 1))
    for memory in (headers._paths, headers._names, headers._timeouts):
        assert len(memory) <= 1024


@given(st.integers(0, 1 << 30), st.integers(1, 8))
def test_integers_are_written_as_hpack_reads_them(value: int, bits: int) -> None:
    assert decode_integer(integer(value, bits), bits) == (value, len(integer(value, bits)))


@given(st.lists(st.binary(max_size=50), max_size=10), st.lists(st.integers(0, 300), max_size=20))
def test_messages_are_put_together_whatever_the_cuts(messages: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in messages)
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    assembler = Assembler(50, "")
    found: list[bytes] = []
    for start, end in itertools.pairwise(edges):
        found += assembler.feed(whole[start:end])
    assert found == messages
    assert len(assembler) == 0


def _block(encoder: Encoder, *fields: tuple[str, str]) -> bytes:
    return bytes(encoder.encode([(name.encode(), value.encode()) for name, value in fields]))


def test_blocks_are_remembered_only_once_they_depend_on_nothing_else() -> None:
    decoder, encoder = HeadDecoder(1 << 16), Encoder()
    fields = ((":status", "200"), ("content-type", "application/grpc"), ("x", "y"))
    # With the table that is the default until the peer has heard of ours, equal blocks may differ in meaning.
    for _ in range(3):
        assert decoder.decode(_block(encoder, *fields)).metadata == (("x", "y"),)
    assert not decoder.known
    decoder.forget_table()
    encoder.header_table_size = 0
    head = decoder.decode(_block(encoder, *fields))
    assert head.metadata == (("x", "y"),)
    assert list(decoder.known.values()) == [head]
    # The peer may not go back to a table.
    encoder.header_table_size = 4096
    with pytest.raises(ConnectionFault):
        decoder.decode(_block(encoder, *fields))


def test_what_is_remembered_of_headers_is_bounded() -> None:
    decoder, encoder = HeadDecoder(1 << 16), Encoder()
    encoder.header_table_size = 0
    decoder.forget_table()
    for number in range(2000):
        decoder.decode(_block(encoder, (":status", "200"), ("x", str(number))))
    decoder.decode(_block(encoder, ("long", "v" * 5000)))
    assert len(decoder.known) <= 512
    assert max(map(len, decoder.known)) <= 1024
