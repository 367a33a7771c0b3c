"""Requests that are no HTTP, or too much of it: refused or cut, and in nobody else's way."""

from __future__ import annotations

import random

import pytest

from tests.gateway_process import Running
from tests.http.raw import ROUNDS, SEED, assert_no_fault, assert_serves, mutated, request, talk, talks
from tests.http.seeds import SEEDS

_GET = b"GET /v1/seg/x HTTP/1.1\r\nhost: gateway\r\n"
_POST = b"POST /v1/size HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
_CHUNKED = _POST + b"transfer-encoding: chunked\r\n\r\n"
BROKEN: dict[str, bytes] = {
    "nothing but line ends": b"\r\n" * 50 + b"\0\r\n\r\n",
    "noise": bytes(range(256)) * 4,
    "a TLS hello": bytes.fromhex("160301006c010000680303") + bytes(97),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"),
    "no target": b"GET HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a version to come": b"GET /v1/seg/x HTTP/9.9\r\nhost: gateway\r\n\r\n",
    "a version that is none": b"GET /v1/seg/x HTTP/1.x\r\nhost: gateway\r\n\r\n",
    "another protocol": b"GET /v1/seg/x ICY/1.1\r\nhost: gateway\r\n\r\n",
    "a space in the target": b"GET /v1/seg/x y HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a method of control characters": b"G\x01T /v1/seg/x HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a method that nobody knows": b"FROBNICATE /v1/seg/x HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a method of 100 kB": b"G" * 100_000 + b" /v1/seg/x HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "NUL in the target": b"GET /v1/seg/x\0y HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "no UTF-8 in the target": b"GET /v1/seg/%C3%28 HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "half an escape in the target": b"GET /v1/seg/a%2 HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "no UTF-8 in the query": b"GET /v1/query?name=%ff HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a target of 20 kB": b"GET /v1/seg/" + b"x" * 20_000 + b" HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a target of 1 MB": b"GET /v1/seg/" + b"x" * 1_000_000 + b" HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a query of 10,000 parameters": b"GET /v1/query?" + b"a=1&" * 10_000 + b" HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a tunnel": b"CONNECT example.test:443 HTTP/1.1\r\nhost: example.test:443\r\n\r\n",
    "a header without a colon": _GET + b"x-a\r\n\r\n",
    "a header without a name": _GET + b": b\r\n\r\n",
    "a header name with a space": _GET + b"x a: b\r\n\r\n",
    "space before the colon": _GET + b"x-a : b\r\n\r\n",
    "a header name that is no ASCII": _GET + b"x-\xe9: b\r\n\r\n",
    "a header value with NUL": _GET + b"x-a: b\0\r\n\r\n",
    "a header value with a control character": _GET + b"x-a: \x01\r\n\r\n",
    "a header of 1 MB": _GET + b"x-a: " + b"b" * 1_000_000 + b"\r\n\r\n",
    "a header name of 100 kB": _GET + b"x" * 100_000 + b": b\r\n\r\n",
    "10,000 headers": _GET + b"".join(b"x-%d: b\r\n" % number for number in range(10_000)) + b"\r\n",
    "1,000,000 bytes of headers that never end": _GET + b"x-a: b\r\n" * 125_000,
    "a deadline that is none": _GET + b"grpc-timeout: soon\r\n\r\n",
    "binary metadata that is no base64": _GET + b"x-key-bin: !!\r\n\r\n",
    "a body that is no gzip": _POST + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
    "an encoding that nobody knows": request("POST", "/v1/whole", b"{}", content_encoding="lz77"),
    "a media type that is none": request("POST", "/v1/whole", b"{}", content_type="\x7f;;;=,"),
    "a body announced at 10 GB": _POST + b"content-length: 10000000000\r\n\r\n{",
}  # fmt: skip

# What a server may forgive or refuse, but must live through.
ODD: dict[str, bytes] = {
    "no host": b"GET /v1/seg/x HTTP/1.1\r\n\r\n",
    "two hosts": _GET + b"host: other\r\n\r\n",
    "lines that end in a bare line feed": b"GET /v1/seg/x HTTP/1.1\nhost: gateway\n\n",
    "a folded header": _GET + b"x-a: b\r\n c\r\n\r\n",
    "HTTP/1.0": b"GET /v1/seg/x HTTP/1.0\r\n\r\n",
    "HTTP/0.9": b"GET /v1/seg/x\r\n\r\n",
    "empty lines before": b"\r\n\r\n" + _GET + b"\r\n",
    "the absolute form": b"GET http://gateway/v1/seg/x HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "the absolute form of another host": b"GET http://other:1/v1/seg/x?a=b HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a target without a slash": b"GET v1/seg/x HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "the asterisk": b"OPTIONS * HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a fragment": b"GET /v1/seg/x#y HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "raw bytes in the target": b"GET /v1/seg/\xe4\xb8\x96 HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a header value that is no ASCII": _GET + b"x-a: \xff\xfe\r\n\r\n",
    "a web socket": _GET
    + b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: eA==\r\nsec-websocket-version: 13\r\n\r\n",
    "HTTP/2 in clear text": _GET
    + b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
    "an expectation that nobody knows": _GET + b"expect: miracles\r\n\r\n",
    "a method in lower case": b"get /v1/seg/x HTTP/1.1\r\nhost: gateway\r\n\r\n",
    "a body on GET": request("GET", "/v1/seg/x", b"{}", content_type="application/json"),
    "trailers": _CHUNKED + b"2\r\n{}\r\n0\r\nx-a: b\r\ncontent-length: 5\r\nhost: other\r\n\r\n",
    "chunk extensions": _CHUNKED + b'2;a=b;c="d"\r\n{}\r\n0;e\r\n\r\n',
    "a chunk extension of 1 MB": _CHUNKED + b"2;" + b"a" * 1_000_000 + b"\r\n{}\r\n0\r\n\r\n",
    "a body of 50,000 chunks": _CHUNKED + b'9\r\n{"text":"\r\n' + b"1\r\nx\r\n" * 50_000 + b'2\r\n"}\r\n0\r\n\r\n',
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
async def test_a_request_that_breaks_the_rules_is_refused(name: str, gateway: Running) -> None:
    told = await talk(gateway.address, BROKEN[name], wait_s=5)
    assert told.closed or told.statuses, "it was neither answered nor cut"
    assert all(400 <= status < 500 for status in told.statuses), told.received[:400]
    await assert_serves(gateway.address)


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_request_is_served_or_refused(name: str, gateway: Running) -> None:
    told = await talk(gateway.address, ODD[name], wait_s=5)
    assert told.closed or told.statuses, "it was neither answered nor cut"
    assert_no_fault(told, ODD[name])
    await assert_serves(gateway.address)


@pytest.mark.timeout(1800)
async def test_whatever_a_bad_line_does_to_a_good_request_the_gateway_lives_on(gateway: Running) -> None:
    chance = random.Random(SEED)
    for _ in range(ROUNDS):
        cases = [(mutated(chance.choice(SEEDS), chance),) for _ in range(400)]
        for told, (sent,) in zip(await talks(gateway.address, cases, wait_s=0.4), cases, strict=True):
            assert_no_fault(told, sent)
        await assert_serves(gateway.address)
        gateway.assert_unharmed()


@pytest.mark.timeout(1800)
async def test_a_request_may_be_cut_anywhere(gateway: Running) -> None:
    step = max(1, 12 // ROUNDS)
    cases = [(seed[:at],) for seed in SEEDS for at in range(0, len(seed), step)]
    for told, (sent,) in zip(await talks(gateway.address, cases, wait_s=0.02), cases, strict=True):
        assert_no_fault(told, sent)
    await assert_serves(gateway.address)


async def test_a_request_may_come_in_any_pieces(gateway: Running) -> None:
    for seed in SEEDS:
        whole = await talk(gateway.address, seed, wait_s=10)
        pieces = [seed[at : at + 7] for at in range(0, len(seed), 7)]
        told = await talk(gateway.address, *pieces, wait_s=20)
        assert [(answer.status, answer.body) for answer in told.responses] == [
            (answer.status, answer.body) for answer in whole.responses
        ]


async def test_pipelined_requests_are_answered_in_their_order(gateway: Running) -> None:
    wanted = [200, 404, 200, 405, 200] * 20
    lines = {200: ("GET", "/v1/seg/{}"), 404: ("GET", "/v1/none/{}"), 405: ("PUT", "/v1/seg/{}")}
    sent = [request(lines[status][0], lines[status][1].format(number)) for number, status in enumerate(wanted)]
    told = await talk(gateway.address, b"".join(sent), answers=len(wanted), wait_s=20)
    assert told.statuses == wanted
    bodies = [answer.body for answer in told.responses if answer.status == 200]
    assert all(
        b'"name":"%d"' % number in bodies[at] for at, number in enumerate(n for n, s in enumerate(wanted) if s == 200)
    )


async def test_what_is_broken_after_a_good_request_does_not_take_its_answer(gateway: Running) -> None:
    told = await talk(gateway.address, request("GET", "/v1/seg/x"), b"\0\0\r\n\r\n", answers=3, pause_s=0.2, wait_s=5)
    assert told.statuses[0] == 200
    assert all(400 <= status < 500 for status in told.statuses[1:])
    assert told.closed
