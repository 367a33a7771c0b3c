"""Ten times more than the agents can do: `make bench-overload`, one JSON line per phase and per target.

    python -m bench.overload [--seconds 15] [--times 10] [--workers 4]

One agent works on `workers` runs at once, 50 ms each, and lets the others wait. Questions come at a steady rate,
whether or not earlier ones are answered; each has 2 s. Who is refused asks no more. Exit code 1 where a target is
missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import uvloop

from answermesh.errors import Reason
from answermesh.rpc.channel import open_channel
from answermesh.rpc.status import failure_from
from answermesh.store import EmbeddedPostgres
from answermesh.v1 import query_service_pb2 as pb
from answermesh.v1.query_pb2 import Query
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from bench.fanout.agent import AUTHOR
from bench.fanout.systems import all_serving, orchestrator
from bench.fanout.workload import WAIT_S
from bench.processes import Processes

DEADLINE_S = 2.0
RECOVERED_S = 10.0


@dataclass
class Phase:
    """What came of the questions of one phase."""

    name: str
    per_s: float
    seconds: float
    outcomes: Counter[str] = field(default_factory=Counter)
    # When each good answer was asked for, from the beginning of the phase, and how long it took.
    good: list[tuple[float, float]] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)

    @property
    def admitted(self) -> int:
        return self.outcomes.total() - self.outcomes["OVERLOADED"]

    def line(self) -> dict[str, Any]:
        """The phase as a line."""
        took = sorted(took_s for _, took_s in self.good) or [math.nan]
        return {
            "phase": self.name,
            "offered_per_s": self.per_s,
            "goodput_per_s": round(len(self.good) / self.seconds, 1),
            "p50_ms": round(took[len(took) // 2] * 1e3, 1),
            "p99_ms": round(took[int(len(took) * 0.99)] * 1e3, 1),
            "refused_p99_ms": round((sorted(self.refused_s) or [math.nan])[int(len(self.refused_s) * 0.99)] * 1e3, 1),
            "outcomes": dict(self.outcomes),
        }


async def offer(stub: QueryServiceStub, phase: Phase) -> None:
    """Ask at the phase's rate."""
    began_s = time.perf_counter()

    async def ask() -> None:
        asked_s = time.perf_counter()
        request = pb.AskRequest(
            question="1 part", plan="fanout", durability=pb.AskRequest.DURABILITY_EPHEMERAL, batched=True
        )
        final = Query()
        try:
            async for response in stub.Ask(request, timeout=DEADLINE_S):
                for event in (response.event, *response.more):
                    final = event.query_ended
        except grpc.aio.AioRpcError as error:
            reason = failure_from(error).reason
            phase.outcomes[reason.name] += 1
            if reason is Reason.OVERLOADED:
                phase.refused_s.append(time.perf_counter() - asked_s)
            return
        phase.outcomes[Query.State.Name(final.state)] += 1
        if final.state == Query.STATE_SUCCEEDED:
            phase.good.append((asked_s - began_s, time.perf_counter() - asked_s))

    async with asyncio.TaskGroup() as asking:
        for number in range(round(phase.per_s * phase.seconds)):
            await asyncio.sleep(max(0.0, began_s + number / phase.per_s - time.perf_counter()))
            asking.create_task(ask())


async def main() -> int:
    """Measure, print, judge; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--times", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args()
    capacity_per_s = options.workers / WAIT_S
    phases = [
        Phase("normal", 0.5 * capacity_per_s, options.seconds),
        Phase("peak", 1.2 * capacity_per_s, options.seconds),
        Phase("surge", options.times * capacity_per_s, options.seconds),
        Phase("after", 0.5 * capacity_per_s, options.seconds),
    ]
    with tempfile.TemporaryDirectory(prefix="overload-") as name:
        folder = Path(name)
        async with EmbeddedPostgres(folder / "data", folder / "run") as postgres, Processes() as processes:
            address = await processes.start("-m", "bench.fanout.agent", AUTHOR, str(options.workers))
            own = await orchestrator(processes, folder, {AUTHOR: address}, postgres.dsn)
            async with open_channel(own) as channel:
                await all_serving(channel, [AUTHOR])
                for phase in phases:
                    await offer(QueryServiceStub(channel), phase)
                    print(json.dumps(phase.line()), flush=True)
    verdicts = judge(*phases)
    for verdict in verdicts:
        print(json.dumps(verdict), flush=True)
    return 0 if all(verdict["met"] for verdict in verdicts) else 1


def judge(normal: Phase, peak: Phase, surge: Phase, after: Phase) -> list[dict[str, Any]]:
    """Hold the phases against the targets."""
    best = max(len(phase.good) / phase.seconds for phase in (normal, peak))
    goodput = len(surge.good) / surge.seconds / best
    in_time = len(surge.good) / max(1, surge.admitted)
    usual_s = sorted(took_s for _, took_s in normal.good)[int(len(normal.good) * 0.95)]
    slow = [asked_s for asked_s, took_s in after.good if took_s > 1.5 * usual_s + 0.02]
    # As many are slow at any time.
    recovered_s = max(slow) if len(slow) > 0.05 * len(after.good) else 0.0
    return [
        _verdict("goodput in the surge / peak", goodput, 0.9, met=goodput >= 0.9),
        _verdict("admitted that were in time", in_time, 0.99, met=in_time >= 0.99),
        _verdict("back to normal, s", recovered_s, RECOVERED_S, met=recovered_s <= RECOVERED_S),
    ]


def _verdict(target: str, measured: float, bound: float, *, met: bool) -> dict[str, Any]:
    return {"target": target, "measured": round(measured, 4), "bound": bound, "met": met}


if __name__ == "__main__":
    raise SystemExit(uvloop.run(main()))
