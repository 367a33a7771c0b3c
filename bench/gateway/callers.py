"""Callers of the steady service, one of each kind: AssertionError unless the answer is whole and right."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable

import httpx2 as httpx

from bench.gateway.cost import PARCEL

Call = Callable[[httpx.AsyncClient], Awaitable[None]]

_COUNT = 50
# A TinyRequest of name "a": field 1, one byte.
_TINY = b"\x0a\x01a"


def _envelope(message: bytes) -> bytes:
    return struct.pack(">BI", 0, len(message)) + message


def _is(answer: httpx.Response, status: int = 200) -> None:
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:200]}"


async def unary_post(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/parcels", json=PARCEL)
    _is(answer)
    assert answer.json() == PARCEL


async def unary_get(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/tiny/a?n=4")
    _is(answer)
    assert answer.json() == {"name": "a", "n": 5}


async def array(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/v1/feed/{_COUNT}")
    _is(answer)
    assert [item["n"] for item in answer.json()] == list(range(1, _COUNT + 1))


async def lines(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/v1/feed/{_COUNT}", headers={"accept": "application/x-ndjson"})
    _is(answer)
    assert [json.loads(line)["n"] for line in answer.text.splitlines()] == list(range(1, _COUNT + 1))


async def events(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/v1/feed/{_COUNT}", headers={"accept": "text/event-stream"})
    _is(answer)
    assert "event: error" not in answer.text, answer.text[-300:]
    assert answer.text.count("data: ") == _COUNT, answer.text[-300:]


async def client_stream(client: httpx.AsyncClient) -> None:
    body = "".join(f'{{"n":{n}}}\n' for n in range(1, 11))
    answer = await client.post("/v1/collect", content=body, headers={"content-type": "application/x-ndjson"})
    _is(answer)
    assert answer.json() == {"n": 55}


async def grpc_web(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/grpc-web+proto"}
    answer = await client.post("/load.v1.Steady/Tiny", content=_envelope(_TINY), headers=headers)
    _is(answer)
    assert b"grpc-status: 0" in answer.content, answer.content[:200]


async def connect_unary(client: httpx.AsyncClient) -> None:
    headers = {"connect-protocol-version": "1"}
    answer = await client.post("/load.v1.Steady/Tiny", json={"name": "a", "n": 1}, headers=headers)
    _is(answer)
    assert answer.json() == {"name": "a", "n": 2}


async def connect_stream(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/connect+json"}
    body = _envelope(b'{"count":%d}' % _COUNT)
    answer = await client.post("/load.v1.Steady/Feed", content=body, headers=headers)
    _is(answer)
    assert answer.content.count(b'"text"') == _COUNT
    assert answer.content.endswith(b"{}"), answer.content[-200:]


async def hang_up(client: httpx.AsyncClient) -> None:
    """Leaves a stream that would never end after its first event."""
    async with client.stream("GET", "/v1/idle", headers={"accept": "text/event-stream"}) as answer:
        assert answer.status_code == 200, answer.status_code
        async for line in answer.aiter_lines():
            assert line.startswith("data"), line
            break


STEADY: dict[str, Call] = {
    call.__name__: call
    for call in (
        unary_post, unary_get, array, lines, events, client_stream, grpc_web, connect_unary, connect_stream, hang_up,
    )
}  # fmt: skip


async def open_idle(base: str, count: int) -> list[asyncio.StreamWriter]:
    """As many SSE clients that have had their first event and wait for the next."""
    host, _, port = base.removeprefix("http://").rpartition(":")
    request = f"GET /v1/idle HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n\r\n".encode()
    writers = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection(host, int(port), limit=4096)
        writer.write(request)
        async with asyncio.timeout(60):
            status = await reader.readline()
            assert b" 200 " in status, status
            await reader.readuntil(b"data: ")
        writers.append(writer)
    return writers
