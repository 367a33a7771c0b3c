"""Clients that are slow, stall, or leave at any moment: nobody else notices, and nothing of them stays."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import random
import socket
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.gateway_process import Running
from tests.http.raw import ROUNDS, SEED, assert_serves, hang_up, journal, request, talk
from tests.http.seeds import SEEDS

# More connections than a test of this size needs, fewer than a process may have open.
_CROWD = 200


def _connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def _open_files(running: Running) -> int:
    return len(list(Path(f"/proc/{running.process.pid}/fd").iterdir()))


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Another process's state has no event to wait for, so it is asked again and again."""
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_clients_that_leave_at_any_moment_leave_nothing_behind(reset: bool, gateway: Running) -> None:
    await assert_serves(gateway.address)
    before = _open_files(gateway)
    chance = random.Random(SEED)
    stream = request("GET", "/v1/count/100000?pause_ms=1&pad=1000", accept="application/x-ndjson")
    for number in range(_CROWD * ROUNDS):
        connection = _connected(gateway.address)
        sent = chance.choice((*SEEDS, stream, stream))
        connection.sendall(sent[: chance.choice((len(sent), chance.randrange(len(sent) + 1)))])
        if number % 3 == 0:
            connection.settimeout(0.005)
            with contextlib.suppress(TimeoutError):
                connection.recv(100)
        hang_up(connection, reset=reset)

    async def closed() -> bool:
        return _open_files(gateway) <= before + 5

    await _until(closed)
    await assert_serves(gateway.address)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_call_whose_client_left_is_cancelled_at_the_service(reset: bool, gateway: Running) -> None:
    calls = {
        "rest": lambda tag: request("GET", f"/v1/nap/15000?tag={tag}"),
        "stream": lambda tag: request("GET", f"/v1/count/100000?pause_ms=5&tag={tag}"),
        "connect": lambda tag: request(
            "POST", "/gwconf.v1.Trouble/Nap", json.dumps({"sleepMs": 15000, "tag": tag}).encode(),
            content_type="application/json", connect_protocol_version="1",
        ),
    }  # fmt: skip
    for name, call in calls.items():
        tag = f"{name}-{uuid.uuid4().hex}"
        connection = _connected(gateway.address)
        connection.sendall(call(tag))
        await _until(functools.partial(_has, gateway, tag, "started"))
        hang_up(connection, reset=reset)
        await _until(functools.partial(_has, gateway, tag, "cancelled"))


async def _has(running: Running, tag: str, what: str) -> bool:
    return bool((await journal(running.address, tag)).get(what))


async def test_a_crowd_that_sends_its_headers_byte_by_byte_keeps_nobody_else_waiting(gateway: Running) -> None:
    crowd = [_connected(gateway.address) for _ in range(_CROWD)]
    head = request("GET", "/v1/seg/slow")
    try:
        for byte in head[:20]:
            for connection in crowd:
                connection.sendall(bytes([byte]))
        await assert_serves(gateway.address)
        # Who goes on in time is served as well.
        crowd[0].sendall(head[20:])
        assert crowd[0].recv(100).startswith(b"HTTP/1.1 200")
    finally:
        for connection in crowd:
            connection.close()


async def test_a_crowd_whose_bodies_stall_keeps_nobody_else_waiting(gateway: Running) -> None:
    body = json.dumps({"name": "slow", "text": "x" * 10_000}).encode()
    sent = request("POST", "/v1/whole", body, content_type="application/json")
    crowd = [_connected(gateway.address) for _ in range(_CROWD)]
    try:
        for connection in crowd:
            connection.sendall(sent[:-5000])
        await assert_serves(gateway.address)
        crowd[0].sendall(sent[-5000:])
        assert crowd[0].recv(100).startswith(b"HTTP/1.1 200")
    finally:
        for connection in crowd:
            connection.close()


async def test_clients_that_read_nothing_keep_nobody_else_waiting(gateway: Running) -> None:
    crowd = [_connected(gateway.address) for _ in range(20)]
    try:
        for connection in crowd:
            connection.sendall(request("GET", "/v1/count/1000000?pad=10000", accept="application/x-ndjson"))
        await assert_serves(gateway.address)
        told = await talk(gateway.address, request("GET", "/v1/count/50"), wait_s=10)
        assert len(json.loads(told.responses[0].body)) == 50
    finally:
        for connection in crowd:
            hang_up(connection, reset=True)
