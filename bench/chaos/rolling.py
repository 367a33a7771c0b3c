"""A rolling restart under load: `python -m bench.chaos.rolling [--clients 4] [--orchestrators 2]`; one line of JSON.

The whole mesh as `answermesh up --orchestrators N` runs it, asked by the typed client and over HTTP while SIGHUP
replaces every service. Exit code 1 where one answer failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2 as httpx

from answermesh.client import Client
from answermesh.client.members import chosen
from answermesh.errors import Failure
from answermesh.typed.answermesh import v1
from bench.mesh import import_samples, running_mesh

QUESTIONS = (
    "What is a learner?",
    "How many failures can a five-member etcd cluster tolerate?",
    "What happens when the leader fails?",
    "How is a snapshot taken?",
)
ROLLED_S = 240.0
# Load before and after the restart.
MARGIN_S = 3.0


def services_of(supervisor: int) -> set[int]:
    """The processes of a mesh's services."""
    words = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return {int(pid) for pid in words if b"\0serve\0" in Path(f"/proc/{pid}/cmdline").read_bytes()}


Ask = Callable[[str], Awaitable[str]]


async def asks(client: Client, question: str) -> str:
    """How an answer to the typed client ends."""
    state = "no end"
    async with aclosing(client.ask(question)) as events:
        async for event in events:
            kind, value = chosen(event, "event")
            if kind == "query_ended":
                causes = [f"{failure.agent}: {failure.error.message}" for failure in value.failures]
                state = " ".join([str(v1.QueryState(value.state).name), *causes])
    return state


async def posts(http: httpx.AsyncClient, question: str) -> str:
    """How an answer over HTTP ends, asked in the background and looked at until it has."""
    response = await http.post("/v1/queries", json={"question": question})
    if response.status_code != 200:
        return f"HTTP {response.status_code} {response.text[:200]}"
    name = response.json()["name"]
    while True:
        response = await http.get(f"/v1/{name}")
        if response.status_code != 200:
            return f"HTTP {response.status_code} {response.text[:200]}"
        query = response.json()
        if query["state"] not in ("STATE_QUEUED", "STATE_RUNNING"):
            causes = [f"{one['agent']}: {one['error'].get('message')}" for one in query.get("failures", ())]
            return " ".join([query["state"], *causes])
        await asyncio.sleep(0.1)


async def load(name: str, ask: Ask, over: asyncio.Event, ends: Counter[str], slowest_s: list[float]) -> None:
    """Ask until it is over, and count how the answers end."""
    number = 0
    while not over.is_set():
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(60):
                came = await ask(QUESTIONS[number % len(QUESTIONS)])
        except (Failure, TimeoutError, httpx.HTTPError) as error:
            came = repr(error)[:200]
        ends[f"{name}: {came}"] += 1
        slowest_s[0] = max(slowest_s[0], time.monotonic() - began_s)
        number += 1


async def rolling(folder: Path, clients: int, orchestrators: int) -> dict[str, Any]:
    """Load a mesh, replace all of it, and say how the answers ended."""
    ends: Counter[str] = Counter()
    slowest_s, over = [0.0], asyncio.Event()
    async with running_mesh(folder, "--orchestrators", str(orchestrators)) as made, Client(made.grpc) as client:
        await import_samples(made)
        base = f"http://{made.http}"
        async with httpx.AsyncClient(base_url=base, timeout=30) as http, asyncio.TaskGroup() as group:
            for number in range(clients):
                ask: Ask = (lambda q: asks(client, q)) if number % 2 else (lambda q: posts(http, q))
                group.create_task(load("gRPC" if number % 2 else "HTTP", ask, over, ends, slowest_s))
            await asyncio.sleep(MARGIN_S)
            before, began_s = services_of(made.pid), time.monotonic()
            os.kill(made.pid, signal.SIGHUP)
            async with asyncio.timeout(ROLLED_S):
                # All are replaced when none of those that were there is left, and as many are there again.
                while (now := services_of(made.pid)) & before or len(now) < len(before):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
            took_s = time.monotonic() - began_s
            await asyncio.sleep(MARGIN_S)
            over.set()
    good = sum(count for end_, count in ends.items() if end_.endswith("STATE_SUCCEEDED"))
    return {
        "orchestrators": orchestrators,
        "services": len(before),
        "took_s": round(took_s, 1),
        "answers": ends.total(),
        "failed": ends.total() - good,
        "slowest_s": round(slowest_s[0], 2),
        "ends": dict(ends),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.chaos.rolling")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--orchestrators", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rolling-") as folder:
        came = asyncio.run(rolling(Path(folder), options.clients, options.orchestrators))
    print(json.dumps(came))
    raise SystemExit(1 if came["failed"] else 0)


if __name__ == "__main__":
    main()
