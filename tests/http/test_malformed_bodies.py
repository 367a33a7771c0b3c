"""Bodies that are no JSON, or too much of it: 400 with the reason, or an answer; never a fault."""

from __future__ import annotations

import gzip
import json
import random

import pytest

from tests.gateway_process import Running
from tests.http.raw import ROUNDS, SEED, Talk, assert_no_fault, assert_serves, mutated, request, talk, talks
from tests.http.seeds import SEEDS

_TYPE = {"content_type": "application/json"}
BODIES: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b" \t\r\n" * 1000,
    "half an object": b'{"name":',
    "two values": b"{}{}",
    "something after the value": b"{} x",
    "a comma too many": b'{"name":"a",}',
    "single quotes": b"{'name':'a'}",
    "a comment": b'{/*a*/"name":"a"}',
    "a name without quotes": b'{name:"a"}',
    "NaN": b'{"dbl":NaN}',
    "infinity": b'{"dbl":-Infinity}',
    "a number with a leading zero": b'{"i32":01}',
    "a number with a plus": b'{"i32":+1}',
    "a double beyond the largest": b'{"dbl":1e999}',
    "a float beyond the largest": b'{"flt":1e39}',
    "an integer of 100,000 digits": b'{"i64":' + b"9" * 100_000 + b"}",
    "a double of 100,000 digits": b'{"dbl":' + b"9" * 100_000 + b"}",
    "an exponent of 10,000 digits": b'{"i64":1e' + b"9" * 10_000 + b"}",
    "an integer with a large exponent as a string": b'{"i64":"1e1000000000"}',
    "a fraction for an integer": b'{"i32":1.5}',
    "a nested array of 100,000": b'{"anyval":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "brackets that never close": b"[" * 200_000,
    "objects that never close": b'{"nest":' * 50_000,
    "a nested array of 100,000 for a string": b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a nested object of 100,000 for a number": b'{"i32":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    "a nested array of 100,000 for a field that is not there": b'{"none such":'
    + b"[" * 100_000
    + b"]" * 100_000
    + b"}",
    "a message in a message 10,000 deep": b'{"nest":' + b'{"child":' * 10_000 + b"{}" + b"}" * 10_001,
    "a struct 10,000 deep": b'{"info":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
    "an Any in an Any 1,000 deep": b'{"extra":'
    + b'{"@type":"type.googleapis.com/google.protobuf.Any","value":' * 1000
    + b"{}"
    + b"}" * 1001,
    "an Any without a type": b'{"extra":{"value":1}}',
    "an Any of a type that nobody knows": b'{"extra":{"@type":"type.googleapis.com/no.Such","a":1}}',
    "an Any whose type is no string": b'{"extra":{"@type":{}}}',
    "a lone surrogate": b'{"name":"\\ud800"}',
    "surrogates the wrong way round": b'{"name":"\\udc00\\ud800"}',
    "bytes that are no UTF-8": b'{"name":"\xff"}',
    "UTF-16": '{"name":"a"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"name":"a"}',
    "NUL": b'{"name":"a"}\0',
    "NUL in a string": b'{"name":"a\0b"}',
    "a control character in a string": b'{"name":"a\nb"}',
    "a bad escape": b'{"name":"\\x41"}',
    "a field twice": b'{"name":"a","name":1}',
    "two members of a oneof": b'{"pickText":"a","pickNum":1}',
    "20,000 unknown fields": b"{" + b",".join(b'"a%d":1' % number for number in range(20_000)) + b"}",
    "a map of 20,000 entries": b'{"labels":{' + b",".join(b'"a%d":"b"' % number for number in range(20_000)) + b"}}",
    "a time that is none": b'{"ts":"2024-02-30T25:61:61Z"}',
    "a time beyond the last": b'{"ts":"10000-01-01T00:00:00Z"}',
    "a duration beyond the longest": b'{"dur":"999999999999999999999s"}',
    "bytes that are no base64": b'{"blob":"***"}',
    "an enum beyond 32 bits": b'{"hue":99999999999}',
    "a key that is no number": b'{"slots":{"a":{}}}',
    "an object for a string": b'{"name":{}}',
    "a string for an object": b'{"nest":"a"}',
    "a list for a message": b"[]",
    "null": b"null",
    "null in a list": b'{"nums":[null]}',
}
TARGETS = ("/v1/whole", "/v1/nestsbody", "/v1/struct", "/v1/value", "/v1/gather", "/v1/chat", "/v1/old")


def _assert_sane(told: Talk, sent: bytes) -> None:
    assert told.statuses or told.closed, sent[:200]
    assert_no_fault(told, sent)
    for answer in told.responses:
        if 400 <= answer.status < 500:
            assert json.loads(answer.body)["error"]["details"][0]["reason"]


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_is_read_or_refused_with_a_reason(name: str, gateway: Running) -> None:
    sent = [request("POST", target, BODIES[name], **_TYPE) for target in TARGETS]
    for told, one in zip(await talks(gateway.address, [(one,) for one in sent], wait_s=10), sent, strict=True):
        _assert_sane(told, one)
    await assert_serves(gateway.address)


async def test_a_query_whose_value_is_nested_deep_is_refused(gateway: Running) -> None:
    for target in (b"/v1/query?info=", b"/v1/query?anyval=", b"/v1/query?items=%7B%22a%22%3A"):
        told = await talk(
            gateway.address, b"GET " + target + b"[" * 16_000 + b" HTTP/1.1\r\nhost: g\r\n\r\n", wait_s=10
        )
        assert told.statuses == [400]


async def test_a_small_body_that_unpacks_to_a_large_one_is_refused(gateway: Running) -> None:
    packed = gzip.compress(b" " * (80 << 20), 1)
    told = await talk(
        gateway.address, request("POST", "/v1/whole", packed, content_encoding="gzip", **_TYPE), wait_s=20
    )
    assert told.statuses == [413]


@pytest.mark.timeout(1800)
async def test_a_good_body_with_bad_bytes_is_read_or_refused(gateway: Running) -> None:
    chance = random.Random(SEED + 1)
    heads = [seed.partition(b"\r\n\r\n") for seed in SEEDS if b"content-type: application/json" in seed]
    for _ in range(ROUNDS):
        cases = []
        for _ in range(300):
            head, _, body = chance.choice(heads)
            body = mutated(body, chance)
            lines = [line for line in head.split(b"\r\n") if not line.startswith((b"content-length", b"transfer-enc"))]
            cases.append((b"\r\n".join([*lines, b"content-length: %d" % len(body)]) + b"\r\n\r\n" + body,))
        for told, (sent,) in zip(await talks(gateway.address, cases, wait_s=10), cases, strict=True):
            assert_no_fault(told, sent)
        await assert_serves(gateway.address)
        gateway.assert_unharmed()
