"""The gateway as a command: several upstreams, workers that die, reloads, metrics of all, the access log."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx2 as httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.gateway.parts import backend, gateway, generate, start_backend

_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generate(tmp_path)
    return tmp_path


def client_of(address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://{address}", timeout=30, trust_env=False)


async def total(client: httpx.AsyncClient, name: str, **labels: str) -> float:
    """The sum of a counter's or a gauge's samples with these labels, as /metrics tells them."""
    text = (await client.get("/metrics")).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def worker_pids(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children]


async def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


async def exists(path: Path) -> bool:
    return path.exists()


async def eventually(holds: Callable[[], Awaitable[object]]) -> None:
    """Wait until it holds; the test's own limit bounds the wait."""
    while True:
        if await holds():
            return
        await asyncio.sleep(0.05)


async def until(client: httpx.AsyncClient, path: str, status: int) -> httpx.Response:
    """The first answer with this status; the test's own limit bounds the wait."""
    while True:
        answer = await client.get(path)
        if answer.status_code == status:
            return answer
        await asyncio.sleep(0.05)


def certificates(folder: Path) -> None:
    """A CA, and certificates by it for the server (steady.test) and for the gateway, as PEM files."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(*new, "-x509", "-days", "2", "-subj", "/CN=test CA", "-keyout", "ca.key", "-out", "ca.pem")
    (folder / "names").write_text("subjectAltName=DNS:steady.test")
    for name in ("server", "own"):
        openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.pem")


async def test_each_method_goes_to_its_upstream_and_one_that_is_down_takes_only_its_own_away(folder: Path) -> None:
    async with backend(folder, "steady") as steady:
        shaky = await start_backend(folder, "shaky")
        options = ("--upstream", f"127.0.0.1:{steady.port}", "--upstream", f"127.0.0.1:{shaky.port}")
        try:
            async with gateway(folder, *options) as (address, _), client_of(address) as client:
                assert (await client.get("/v1/tiny/a?n=1")).json() == {"name": "a", "n": 2}
                assert (await client.get("/v1/shaky/a?n=1")).json() == {"name": "a", "n": 2}
                shaky.process.kill()
                await shaky.process.wait()
                down = await until(client, "/v1/shaky/a", 503)
                assert down.json()["error"]["status"] == "UNAVAILABLE"
                assert (await client.get("/v1/tiny/a")).status_code == 200
                assert await total(client, "answermesh_gateway_upstream_errors_total", code="UNAVAILABLE") >= 1
                shaky = await start_backend(folder, "shaky", shaky.port)
                await until(client, "/v1/shaky/a", 200)
        finally:
            shaky.process.kill()
            await shaky.process.wait()


async def test_an_upstream_that_comes_late_brings_its_methods(folder: Path) -> None:
    shaky = await start_backend(folder, "shaky")
    shaky.process.kill()
    await shaky.process.wait()
    async with backend(folder, "steady") as steady:
        options = ("--upstream", f"127.0.0.1:{steady.port}", "--upstream", f"127.0.0.1:{shaky.port}")
        async with gateway(folder, *options) as (address, _), client_of(address) as client:
            assert (await client.get("/v1/tiny/a")).status_code == 200
            assert (await client.get("/v1/shaky/a")).status_code == 404
            shaky = await start_backend(folder, "shaky", shaky.port)
            try:
                await until(client, "/v1/shaky/a", 200)
            finally:
                shaky.process.kill()
                await shaky.process.wait()


async def test_a_hung_upstream_is_noticed_by_its_silence(folder: Path) -> None:
    async with backend(folder, "steady") as steady:
        options = ("--upstream", f"127.0.0.1:{steady.port}", "--upstream-keepalive", "0.5")
        async with gateway(folder, *options) as (address, _), client_of(address) as client:
            async with client.stream("GET", "/v1/idle", headers={"accept": "text/event-stream"}) as answer:
                lines = answer.aiter_lines()
                assert await anext(lines) == 'data: {"n":1}'
                steady.process.send_signal(signal.SIGSTOP)
                rest = [line async for line in lines]
            steady.process.send_signal(signal.SIGCONT)
            assert "event: error" in rest
            assert '"UNAVAILABLE"' in "".join(rest)
            await until(client, "/v1/tiny/a", 200)


@pytest.fixture
async def two_workers(folder: Path) -> AsyncIterator[tuple[str, int]]:
    async with backend(folder, "steady") as steady:
        options = ("--upstream", f"127.0.0.1:{steady.port}", "--workers", "2")
        async with gateway(folder, *options) as served:
            yield served


async def test_a_worker_that_dies_is_replaced_and_no_waiting_connection_is_lost(two_workers: tuple[str, int]) -> None:
    address, parent = two_workers

    async def once() -> int:
        async with client_of(address) as client:
            return (await client.get("/v1/tiny/a")).status_code

    async def answered() -> float:
        async with client_of(address) as client:
            return await total(client, "answermesh_gateway_requests_total", rpc="load.v1.Steady.Tiny")

    async def answered_before() -> bool:
        return await answered() >= 20

    async def replaced() -> bool:
        now = await worker_pids(parent)
        assert other in now
        return victim not in now and len(now) == 2

    async def counted_on() -> bool:
        return await answered() >= 40

    assert [await once() for _ in range(20)] == [200] * 20
    # The other worker's counts are at most a second old.
    await eventually(answered_before)
    victim, other = await worker_pids(parent)
    os.kill(victim, signal.SIGKILL)
    # Some of these connections wait in the queue of the dead one.
    assert await asyncio.gather(*(once() for _ in range(20))) == [200] * 20
    await eventually(replaced)
    assert await answered() >= 20
    await eventually(counted_on)


async def test_requests_go_on_while_all_workers_reload(two_workers: tuple[str, int]) -> None:
    address, parent = two_workers
    async with client_of(address) as client:
        workers = await worker_pids(parent)
        for _ in range(5):
            os.kill(parent, signal.SIGHUP)
            answers = await asyncio.gather(*(client.get("/v1/tiny/a") for _ in range(20)))
            assert {answer.status_code for answer in answers} == {200}
        assert await worker_pids(parent) == workers


async def test_a_descriptor_set_is_read_again_and_a_bad_one_changes_nothing(folder: Path) -> None:
    described = folder / "load.binpb"
    good = described.read_bytes()
    async with backend(folder, "steady") as steady:
        options = ("--upstream", f"127.0.0.1:{steady.port}", "--descriptor-set", str(described))
        async with gateway(folder, *options) as (address, pid), client_of(address) as client:
            assert (await client.get("/v1/tiny/a")).status_code == 200
            described.write_bytes(b"no descriptors")
            os.kill(pid, signal.SIGHUP)
            await eventually(lambda: total(client, "answermesh_gateway_schema_reloads_total", result="refused"))
            assert (await client.get("/v1/tiny/a")).status_code == 200
            described.write_bytes(good.replace(b"/v1/tiny/{name}", b"/v2/tiny/{name}"))
            os.kill(pid, signal.SIGHUP)
            await until(client, "/v2/tiny/a", 200)
            assert (await client.get("/v1/tiny/a")).status_code == 404


async def test_the_access_log_has_a_line_a_request_and_is_opened_anew_after_it_was_moved(folder: Path) -> None:
    log = folder / "access.log"
    async with backend(folder, "steady") as steady:
        options = ("--upstream", f"127.0.0.1:{steady.port}", "--access-log", str(log))
        async with gateway(folder, *options) as (address, pid), client_of(address) as client:
            headers = {"traceparent": _TRACE, "x-request-id": "mine"}
            await client.get("/v1/tiny/a?n=1", headers=headers)
            await eventually(lambda: lines_of(log))
            entry = json.loads((await lines_of(log))[0])
            told = {key: entry[key] for key in ("method", "path", "status", "rpc", "request_id", "trace_id", "peer")}
            assert told == {
                "method": "GET",
                "path": "/v1/tiny/a",
                "status": 200,
                "rpc": "load.v1.Steady.Tiny",
                "request_id": "mine",
                "trace_id": "0af7651916cd43dd8448eb211c80319c",
                "peer": "127.0.0.1",
            }
            log.rename(folder / "access.log.1")
            os.kill(pid, signal.SIGHUP)
            await eventually(lambda: exists(log))
            await client.get("/v1/tiny/b")
        # What was not yet written is, at the end.
        assert [json.loads(line)["path"] for line in log.read_text().splitlines()] == ["/v1/tiny/b"]


async def test_metrics_tell_each_protocol_and_can_be_switched_off(folder: Path) -> None:
    async with backend(folder, "steady") as steady:
        upstream = ("--upstream", f"127.0.0.1:{steady.port}")
        async with gateway(folder, *upstream) as (address, _), client_of(address) as client:
            await client.get("/v1/feed/7")
            await client.post("/load.v1.Steady/Tiny", json={}, headers={"connect-protocol-version": "1"})
            await client.get("/v1/feed/x")
            feed = {"rpc": "load.v1.Steady.Feed"}
            assert await total(client, "answermesh_gateway_requests_total", status="200", **feed) == 1
            assert await total(client, "answermesh_gateway_requests_total", status="400", **feed) == 1
            assert await total(client, "answermesh_gateway_requests_total", protocol="connect") == 1
            assert await total(client, "answermesh_gateway_stream_messages_total", direction="out", **feed) == 7
            assert await total(client, "answermesh_gateway_request_duration_seconds_count", **feed) == 2
            # A request that the gateway refused is not an upstream's error.
            assert await total(client, "answermesh_gateway_upstream_errors_total") == 0
            assert (await client.get("/healthz/live")).status_code == 200
        async with gateway(folder, *upstream, "--no-metrics") as (address, _), client_of(address) as client:
            assert (await client.get("/metrics")).status_code == 404


async def test_an_address_that_is_taken_is_told_at_once(folder: Path) -> None:
    async with backend(folder, "steady") as steady:
        upstream = ("--upstream", f"127.0.0.1:{steady.port}")
        async with gateway(folder, *upstream) as (address, _):
            for workers in ("1", "2"):
                with pytest.raises(SystemExit, match="code 1"):
                    async with gateway(folder, *upstream, "--workers", workers, "--listen", address):
                        pass


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
async def test_an_upstream_is_called_by_tls_with_a_certificate_of_our_own(folder: Path) -> None:
    certificates(folder)
    async with backend(folder, "steady", 0.0, "env", f"TLS_FOLDER={folder}") as steady:
        target = ("--upstream", f"127.0.0.1:{steady.port}", "--descriptor-set", str(folder / "load.binpb"))
        trust = ("--upstream-ca", str(folder / "ca.pem"), "--upstream-authority", "steady.test")
        shown = ("--upstream-cert", str(folder / "own.pem"), "--upstream-key", str(folder / "own.key"))
        async with gateway(folder, *target, *trust, *shown) as (address, _), client_of(address) as client:
            assert (await client.get("/v1/tiny/a?n=1")).json() == {"name": "a", "n": 2}
        # Without the certificate that the server asks for, and without trust in its own.
        for options in (trust, ("--upstream-tls", *trust[2:])):
            async with gateway(folder, *target, *options) as (address, _), client_of(address) as client:
                assert (await client.get("/v1/tiny/a")).status_code == 503
