"""Peers that hang or die, and the sockets that they leave behind."""

from __future__ import annotations

import asyncio
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from answermesh.errors import Failure, Reason
from answermesh.rpc.channel import open_channel
from answermesh.rpc.server import Server
from answermesh.v1 import query_service_pb2
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from tests.wire.servers import queries, serving
from tests.wire.stoppable import KEEPALIVE, get_query

ROOT = Path(__file__).parents[2]
GET = query_service_pb2.GetQueryRequest(name="queries/q1")
ASK = query_service_pb2.AskRequest(question="What is a lease?")


@asynccontextmanager
async def process(listen: str = "127.0.0.1:0") -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A server in a process of its own and its address."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.wire.stoppable", listen, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        async with asyncio.timeout(30):
            yield server, (await server.stdout.readline()).decode().strip()
    finally:
        if server.returncode is None:
            server.kill()
        await server.wait()
        # Else the pipe is closed by the garbage collector, after the loop.
        server._transport.close()  # type: ignore[attr-defined]


async def test_a_stopped_server_is_noticed_though_its_kernel_still_answers() -> None:
    async with process() as (server, address), open_channel(address, keepalive=KEEPALIVE) as channel:
        call = QueryServiceStub(channel).Ask(ASK, timeout=25)
        await call.read()
        server.send_signal(signal.SIGSTOP)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call.read()
        # Not DEADLINE_EXCEEDED: noticed long before.
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_calls_go_on_without_an_error_while_one_of_two_replicas_is_stopped() -> None:
    async with (
        process() as (server, one),
        serving(queries(GetQuery=get_query)) as (_, two),
        open_channel([one, two], keepalive=KEEPALIVE) as channel,
    ):
        stub = QueryServiceStub(channel)
        seen = {str(server.pid)}
        while len(seen) < 2:
            seen.add((await stub.GetQuery(GET, timeout=25)).query.name)
        server.send_signal(signal.SIGSTOP)
        after = [(await stub.GetQuery(GET, timeout=25)).query.name for _ in range(20)]
        assert str(server.pid) not in after


async def test_a_killed_servers_socket_is_taken_over_and_its_channels_find_the_new_one(tmp_path: Path) -> None:
    listen = f"unix:{tmp_path}/s.sock"
    async with process(listen) as (server, address), open_channel(address) as channel:
        stub = QueryServiceStub(channel)
        first = (await stub.GetQuery(GET, timeout=25)).query.name
        server.kill()
        await server.wait()
        assert (tmp_path / "s.sock").exists()
        async with serving(queries(GetQuery=get_query), listen=listen):
            assert (await stub.GetQuery(GET, timeout=25, wait_for_ready=True)).query.name != first


async def test_a_socket_is_private_and_gone_after_the_drain(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with serving(queries(), listen=f"unix:{path}") as (_, address):
        assert address == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_the_socket_of_a_living_server_is_not_taken(tmp_path: Path) -> None:
    listen = f"unix:{tmp_path}/s.sock"
    async with serving(queries(GetQuery=get_query), listen=listen) as (_, address), open_channel(address) as channel:
        other = Server(listen)
        with pytest.raises(Failure, match="another process listens"):
            await other.start()
        await other.drain(0)
        await QueryServiceStub(channel).GetQuery(GET, timeout=25)


@pytest.mark.parametrize("listen", ["{}/file", "{}/missing/s.sock", "{}/" + "x" * 120])
async def test_a_path_that_cannot_be_a_socket_is_refused(tmp_path: Path, listen: str) -> None:
    (tmp_path / "file").write_text("precious")
    server = Server("unix:" + listen.format(tmp_path))
    with pytest.raises(Failure) as failure:
        await server.start()
    assert failure.value.reason is Reason.INVALID_FIELD
    assert (tmp_path / "file").read_text() == "precious"
    await server.drain(0)


async def test_a_port_that_is_taken_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server(f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(Failure, match="cannot be listened on"):
            await server.start()
        await server.drain(0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_port_0_is_chosen_by_the_kernel(host: str) -> None:
    async with serving(queries(GetQuery=get_query), listen=f"{host}:0") as (_, address):
        name, _, port = address.rpartition(":")
        assert (name, int(port) > 0) == (host, True)
        async with open_channel(address) as channel:
            await QueryServiceStub(channel).GetQuery(GET, timeout=25)
