"""Which connection of the HTTP/2 client a call gets: balancing, health, restarts, names, TLS, Unix sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc import StatusCode
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from answermesh.errors import Failure
from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.http2 import Http2Options, Http2Upstream, Keepalive, client_context
from answermesh.gateway.upstream.http2.targets import parse_target

WHO = "/test.Test/Who"


@asynccontextmanager
async def server(
    name: str,
    address: str = "127.0.0.1:0",
    credentials: grpc.ServerCredentials | None = None,
    *,
    tells_health: bool = True,
    **options: Any,
) -> AsyncIterator[tuple[str, health.aio.HealthServicer, grpc.aio.Server]]:
    """A server that answers its name; its address, its health, itself."""

    async def who(request: bytes, context: Any) -> bytes:
        return name.encode()

    started = grpc.aio.server(options=[("grpc.so_reuseport", 0)], **options)
    handlers = {"Who": grpc.unary_unary_rpc_method_handler(who)}
    started.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", handlers),))
    told = health.aio.HealthServicer()
    await told.set("", health_pb2.HealthCheckResponse.SERVING)
    if tells_health:
        health_pb2_grpc.add_HealthServicer_to_server(told, started)
    port = started.add_secure_port(address, credentials) if credentials else started.add_insecure_port(address)
    await started.start()
    try:
        yield address if address.startswith("unix:") else f"127.0.0.1:{port}", told, started
    finally:
        await started.stop(0)


async def ask(upstream: Http2Upstream, timeout_s: float = 10.0) -> str:
    return (await upstream.unary(WHO, b"", (), timeout_s)).message.decode()


async def ask_many(upstream: Http2Upstream, count: int = 40) -> Counter[str]:
    return Counter([await ask(upstream) for _ in range(count)])


async def until_only(upstream: Http2Upstream, *names: str) -> None:
    """Calls until these servers answer, and they alone."""
    async with asyncio.timeout(10):
        while set(await ask_many(upstream, 4 * len(names))) != set(names):
            pass


async def test_calls_go_to_all_addresses_in_turn() -> None:
    async with AsyncExitStack() as stack:
        addresses = [(await stack.enter_async_context(server(name)))[0] for name in "abc"]
        async with Http2Upstream(f"ipv4:{','.join(addresses)}") as upstream:
            await until_only(upstream, *"abc")
            assert max((await ask_many(upstream, 60)).values()) <= 30


async def test_a_server_that_tells_its_health_gets_as_many_calls_as_one_that_tells_none() -> None:
    async with AsyncExitStack() as stack:
        first, _, _ = await stack.enter_async_context(server("tells"))
        second, _, _ = await stack.enter_async_context(server("silent", tells_health=False))
        async with Http2Upstream(f"ipv4:{first},{second}") as upstream:
            await until_only(upstream, "tells", "silent")
            assert await ask_many(upstream, 40) == {"tells": 20, "silent": 20}


async def test_a_server_that_is_not_serving_gets_no_calls_until_it_is() -> None:
    options = Http2Options(patience_s=0.0)
    async with AsyncExitStack() as stack:
        first, health_of_a, _ = await stack.enter_async_context(server("a"))
        second, health_of_b, _ = await stack.enter_async_context(server("b"))
        async with Http2Upstream(f"ipv4:{first},{second}", options) as upstream:
            await until_only(upstream, "a", "b")
            await health_of_a.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
            await until_only(upstream, "b")
            assert upstream.connections["unhealthy"] == 1
            await health_of_b.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
            with pytest.raises(CallError, match="not serving") as raised:
                while True:
                    await ask(upstream)
            assert raised.value.code is StatusCode.UNAVAILABLE
            await health_of_a.set("", health_pb2.HealthCheckResponse.SERVING)
            async with asyncio.timeout(10):
                while True:
                    try:
                        assert await ask(upstream) == "a"
                        break
                    except CallError:
                        await asyncio.sleep(0.02)


async def test_draining_one_server_of_two_costs_no_call() -> None:
    async with AsyncExitStack() as stack:
        first, told, draining = await stack.enter_async_context(server("a"))
        second, _, _ = await stack.enter_async_context(server("b"))
        async with Http2Upstream(f"ipv4:{first},{second}") as upstream:
            await until_only(upstream, "a", "b")
            stop = asyncio.Event()

            async def caller() -> None:
                while not stop.is_set():
                    await ask(upstream)

            async with asyncio.TaskGroup() as group:
                for _ in range(16):
                    group.create_task(caller())
                await told.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
                await asyncio.sleep(0.2)  # a drain's pause
                await draining.stop(5)
                stop.set()
            assert set(await ask_many(upstream, 8)) == {"b"}


async def test_a_server_that_restarts_is_found_again_and_calls_wait_for_it_shortly() -> None:
    async with AsyncExitStack() as stack:
        async with server("old") as (address, _, _):
            upstream = await stack.enter_async_context(Http2Upstream(address, Http2Options(patience_s=10.0)))
            assert await ask(upstream) == "old"
        call = asyncio.create_task(ask(upstream))
        await asyncio.sleep(0.05)
        await stack.enter_async_context(server("new", address))
        assert await call == "new"
        assert upstream.reconnects == 1


async def test_calls_fail_at_once_where_the_upstream_has_been_down() -> None:
    async with Http2Upstream("127.0.0.1:1", Http2Options(patience_s=0.1)) as upstream:
        for _ in range(2):
            with pytest.raises(CallError, match=r"No connection to 127.0.0.1:1") as raised:
                await ask(upstream)
            assert raised.value.code is StatusCode.UNAVAILABLE
        assert upstream.connections.get("failed", 0) + upstream.connections.get("connecting", 0) >= 1


async def test_an_address_that_does_not_answer_is_given_up_after_the_connect_timeout() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        async with Http2Upstream(target, Http2Options(patience_s=0.0, connect_timeout_s=0.2)) as upstream:
            with pytest.raises(CallError, match=r"within 0.2 s") as raised:
                await ask(upstream, 30.0)
            assert raised.value.code is StatusCode.UNAVAILABLE


async def test_a_call_waits_for_a_connection_no_longer_than_its_deadline() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        async with Http2Upstream(f"127.0.0.1:{silent.getsockname()[1]}") as upstream:
            with pytest.raises(CallError) as raised:
                await ask(upstream, 0.1)
            assert raised.value.code is StatusCode.DEADLINE_EXCEEDED


async def test_a_name_leads_to_its_addresses() -> None:
    async with server("a") as (address, _, _):
        port = address.rpartition(":")[2]
        for target in (f"localhost:{port}", f"dns:///localhost:{port}", f"dns:localhost:{port}"):
            async with Http2Upstream(target) as upstream:
                assert await ask(upstream) == "a"
    async with Http2Upstream("no-such-name.invalid:1", Http2Options(patience_s=0.0)) as upstream:
        with pytest.raises(CallError, match="no-such-name") as raised:
            await ask(upstream)
        assert raised.value.code is StatusCode.UNAVAILABLE


async def test_a_unix_socket_is_a_target(tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/s"
    async with server("a", target):
        for one in (target, f"unix://{tmp_path}/s"):
            async with Http2Upstream(one) as upstream:
                assert await ask(upstream) == "a"


@pytest.mark.parametrize(
    "target", ["", "host", "host:0", "host:70000", "unix:", "ipv4:name:1", "ipv4:[::1]:1", "ipv6:1.2.3.4:5", "dns://8.8.8.8/a:1"]
)  # fmt: skip
def test_a_target_that_is_none_is_refused(target: str) -> None:
    with pytest.raises(Failure, match="upstream"):
        parse_target(target)


def test_targets_name_addresses_and_an_authority() -> None:
    two = parse_target("ipv4:1.2.3.4:5,6.7.8.9:10")
    assert ([str(one) for one in two.addresses], two.authority) == (["1.2.3.4:5", "6.7.8.9:10"], "1.2.3.4:5")
    assert str(parse_target("ipv6:[::1]:5").addresses[0]) == "[::1]:5"
    assert parse_target("[::1]:5").authority == "[::1]:5"
    named = parse_target("dns:///name:5")
    assert (named.host, named.port, named.authority, named.addresses) == ("name", 5, "name:5", ())


class Authority:
    """A CA with a server's certificate for `upstream.test`, and a client's."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        self.client_file = folder / "client.pem"
        self.ca.issue_cert("client.test").private_key_and_cert_chain_pem.write_to_path(str(self.client_file))
        self.of_server = self.ca.issue_cert("upstream.test")

    def credentials(self, *, mutual: bool) -> grpc.ServerCredentials:
        chain = b"".join(blob.bytes() for blob in self.of_server.cert_chain_pems)
        return grpc.ssl_server_credentials(
            [(self.of_server.private_key_pem.bytes(), chain)], self.ca.cert_pem.bytes(), require_client_auth=mutual
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_tls_verifies_the_server_by_its_name_and_ca(authority: Authority) -> None:
    async with server("a", credentials=authority.credentials(mutual=False)) as (address, _, _):
        ours = client_context(ca_file=authority.ca_file)
        async with Http2Upstream(address, Http2Options(tls=ours, server_name="upstream.test")) as upstream:
            assert await ask(upstream) == "a"
        for wrong in (
            Http2Options(tls=ours, server_name="other.test", patience_s=0.0),
            Http2Options(tls=ours, patience_s=0.0),
            Http2Options(tls=client_context(), server_name="upstream.test", patience_s=0.0),
        ):
            async with Http2Upstream(address, wrong) as upstream:
                with pytest.raises(CallError, match="certificate verify failed") as raised:
                    await ask(upstream)
                assert raised.value.code is StatusCode.UNAVAILABLE


async def test_mutual_tls_shows_our_certificate(authority: Authority) -> None:
    async with server("a", credentials=authority.credentials(mutual=True)) as (address, _, _):
        ours = client_context(ca_file=authority.ca_file, certificate_file=authority.client_file)
        async with Http2Upstream(address, Http2Options(tls=ours, server_name="upstream.test")) as upstream:
            assert await ask(upstream) == "a"
        bare = Http2Options(tls=client_context(ca_file=authority.ca_file), server_name="upstream.test", patience_s=0.0)
        async with Http2Upstream(address, bare) as upstream:
            with pytest.raises(CallError) as raised:
                await ask(upstream)
            assert raised.value.code is StatusCode.UNAVAILABLE


async def test_a_tls_server_without_http2_is_refused(authority: Authority) -> None:
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.of_server.configure_cert(theirs)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=theirs) as listening:
        target = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        tls = client_context(ca_file=authority.ca_file)
        async with Http2Upstream(
            target, Http2Options(tls=tls, server_name="upstream.test", patience_s=0.0)
        ) as upstream:
            with pytest.raises(CallError, match="ALPN"):
                await ask(upstream)


_STOPPABLE = """
import grpc
from concurrent import futures
server = grpc.server(futures.ThreadPoolExecutor(4))
handlers = {"Who": grpc.unary_unary_rpc_method_handler(lambda request, context: b"stoppable")}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", handlers),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""


async def test_a_stopped_process_is_noticed_and_the_other_address_takes_over() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _STOPPABLE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        stoppable = f"127.0.0.1:{int(await process.stdout.readline())}"
        options = Http2Options(keepalive=Keepalive(time_s=0.2, timeout_s=0.5), patience_s=0.0)
        async with server("b") as (other, _, _), Http2Upstream(f"ipv4:{stoppable},{other}", options) as upstream:
            await until_only(upstream, "stoppable", "b")
            os.kill(process.pid, signal.SIGSTOP)
            with pytest.raises(CallError, match="does not answer") as raised:
                while True:
                    await ask(upstream, 30.0)
            assert raised.value.code is StatusCode.UNAVAILABLE
            assert set(await ask_many(upstream)) == {"b"}
    finally:
        process.kill()
        await process.wait()
