"""Load and faults before the gateway: `python -m bench.gateway.soak --minutes 10 [--idle 1000]`, JSON at the end.

Two replicas of a service whose connections are closed by GOAWAY every few seconds, and a third server that is killed,
stopped and started again. Callers of every kind, some of which hang up. Exit code 1, with the reasons, where a request
of the steady service failed, a caller of the shaky one waited for ever, or something was left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx

from bench.gateway import callers
from bench.gateway.metrics import Scrape, scrape, slope
from bench.gateway.parts import Server, backend, end, gateway, generate, start_backend

# Connections of the steady replicas live this long.
_AGE_S = 4.0
_SETTLE_S = 30.0
_HUNG_S = 5.0
# What a caller of the shaky service waits for at most: its own deadline and the gateway's answer to it.
_SHAKY_S = 3.0
# Growth of memory that is taken for a leak, in bytes per second of a run of minutes; allocators breathe in short ones.
_LEAK_BYTES_PER_S = 20_000


@dataclass
class Tally:
    """What came of the calls."""

    good: Counter[str] = field(default_factory=Counter)
    shaky: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def fail(self, reason: str) -> None:
        """Note a failure; the first ones tell enough."""
        if len(self.failures) < 20:
            self.failures.append(reason)


async def steadily(name: str, call: callers.Call, client: httpx.AsyncClient, until_s: float, tally: Tally) -> None:
    """Call again and again; every call must succeed."""
    while time.monotonic() < until_s:
        try:
            await call(client)
        except (AssertionError, httpx.HTTPError) as error:
            tally.fail(f"{name}: {type(error).__name__} {str(error)[:200]}")
        else:
            tally.good[name] += 1
        await asyncio.sleep(random.random() * 0.01)


async def shakily(client: httpx.AsyncClient, until_s: float, tally: Tally) -> None:
    """Call what may fail; it must do so in time, and with a status that says so."""
    while time.monotonic() < until_s:
        path = random.choice(["/v1/shaky/a", "/v1/shaky/feed/20"])
        try:
            answer = await client.get(path, headers={"x-server-timeout": str(_SHAKY_S)}, timeout=_SHAKY_S + 10)
        except httpx.RemoteProtocolError:
            # A JSON array that cannot be ended is cut.
            tally.shaky["cut"] += 1
        except httpx.HTTPError as error:
            tally.fail(f"shaky: {type(error).__name__} {error}")
        else:
            tally.shaky[str(answer.status_code)] += 1
            if answer.status_code not in (200, 503, 504):
                tally.fail(f"shaky: {answer.status_code} {answer.text[:200]}")
        await asyncio.sleep(0.02)


async def faults(folder: Path, first: Server, until_s: float) -> Server:
    """Kill, stop and start the shaky server; the one that runs in the end."""
    server = first
    while time.monotonic() < until_s:
        await asyncio.sleep(1.5)
        server.process.send_signal(signal.SIGSTOP)
        # Longer than the callers' deadlines. Pings that would notice it sooner would, on a busy machine, also cut off a
        # steady server that merely waits for the processor.
        await asyncio.sleep(_HUNG_S)
        server.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(1.5)
        server.process.kill()
        await server.process.wait()
        await asyncio.sleep(0.5)
        server = await start_backend(folder, "shaky", server.port)
    return server


async def watched(base: str, until_s: float) -> list[Scrape]:
    """What the gateway says of itself, every half second."""
    seen = []
    async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=30) as client:
        while time.monotonic() < until_s:
            seen.append(await scrape(client))
            await asyncio.sleep(0.5)
    return seen


async def settled(base: str, before: Scrape) -> list[str]:
    """What is left behind when nobody calls any more."""
    give_up_s = time.monotonic() + _SETTLE_S
    async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=30) as client:
        while True:
            now = await scrape(client)
            # A connection to an upstream that came meanwhile has its descriptors.
            left = [
                *([f"{now.in_flight - 1:g} requests under way"] if now.in_flight > 1 else []),
                *([f"{now.streams:g} streams open"] if now.streams else []),
                *([f"{now.tasks:g} tasks, {before.tasks:g} before"] if now.tasks > before.tasks + 2 else []),
                *([f"{now.files:g} descriptors, {before.files:g} before"] if now.files > before.files + 12 else []),
            ]
            if not left or time.monotonic() > give_up_s:
                return left
            await asyncio.sleep(0.2)


async def idle_cost(base: str, count: int, tally: Tally) -> dict[str, float]:
    """Memory of the gateway for each SSE client that waits for events."""
    if not count:
        return {}
    async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=60) as client:
        before = await scrape(client)
        try:
            writers = await callers.open_idle(base, count)
        except (AssertionError, TimeoutError) as error:
            tally.fail(f"idle: {type(error).__name__} {error}")
            return {}
        during = await scrape(client)
        if during.streams < count:
            tally.fail(f"idle: {during.streams:g} streams open, {count} expected")
        for writer in writers:
            writer.close()
    return {"idle_clients": count, "bytes_per_idle_client": round((during.memory - before.memory) / count)}


async def soak(seconds: float, idle: int, workers: int = 1) -> tuple[dict[str, object], list[str]]:
    """The figures, and the reasons why it failed."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder)
        async with backend(folder, "steady", _AGE_S) as one, backend(folder, "steady", _AGE_S * 1.3) as two:
            shaky = await start_backend(folder, "shaky")
            upstreams = (
                "--upstream", f"ipv4:127.0.0.1:{one.port},127.0.0.1:{two.port}=load.v1.Steady",
                "--upstream", f"127.0.0.1:{shaky.port}=load.v1.Shaky",
            )  # fmt: skip
            options = (*upstreams, "--upstream-keepalive", "20", "--workers", str(workers))
            try:
                async with gateway(folder, *options, "--access-log", str(folder / "access.log")) as (address, _):
                    base = f"http://{address}"
                    await _under_load(base, 2.0, tally)
                    async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
                        before = await scrape(client)
                    until_s = time.monotonic() + seconds
                    async with asyncio.TaskGroup() as group:
                        watching = group.create_task(watched(base, until_s))
                        shaking = group.create_task(faults(folder, shaky, until_s))
                        group.create_task(_under_load(base, seconds, tally))
                    shaky = shaking.result()
                    figures = _figures(watching.result(), seconds, tally)
                    figures |= await idle_cost(base, idle, tally)
                    tally.failures += await settled(base, before)
            finally:
                await end(shaky.process)
    if seconds >= 120 and (growth := figures["memory_bytes_per_s"]) > _LEAK_BYTES_PER_S:
        tally.failures.append(f"memory grows by {growth:g} bytes a second")
    return {"seconds": seconds, **figures, "failures": tally.failures}, tally.failures


async def _under_load(base: str, seconds: float, tally: Tally) -> None:
    until_s = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with (
        httpx.AsyncClient(base_url=base, trust_env=False, timeout=60, limits=limits) as client,
        asyncio.TaskGroup() as group,
    ):
        for name, call in callers.STEADY.items():
            group.create_task(steadily(name, call, client, until_s, tally))
        for _ in range(4):
            group.create_task(shakily(client, until_s, tally))


def _figures(seen: list[Scrape], seconds: float, tally: Tally) -> dict[str, float]:
    # The first quarter is warming up.
    steady = seen[len(seen) // 4 :]
    return {
        "requests": sum(tally.good.values()) + sum(tally.shaky.values()),
        **{f"good_{name}": count for name, count in sorted(tally.good.items())},
        **{f"shaky_{name}": count for name, count in sorted(tally.shaky.items())},
        "memory_mib": round(steady[-1].memory / 2**20, 1),
        "memory_bytes_per_s": round(slope([(one.at_s, one.memory) for one in steady])),
    }


def main() -> None:
    """Soak as long as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    figures, failures = asyncio.run(soak(arguments.minutes * 60, arguments.idle, arguments.workers))
    print(json.dumps(figures, indent=1))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
