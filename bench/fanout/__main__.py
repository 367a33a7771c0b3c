"""Fan-out through the public API beside raw grpc.aio, in one run: `make bench-fanout`, one JSON line per measurement.

    python -m bench.fanout [--rounds 3] [--seconds 2] [--in-flight 1 16 64 256] [--chunks 1 20] [--only raw …]

Each round measures every system at every load, one after the other, so that ratios are taken within one spell of the
machine. At the end, one line per target; exit code 1 where one is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any

import uvloop

from bench.fanout.systems import DURABILITIES, Ask, mesh, raw
from bench.fanout.targets import judge
from bench.fanout.workload import WAIT_S, closed_loop
from bench.processes import Processes


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--warm", type=float, default=0.7, dest="warm_s")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--chunks", type=int, nargs="+", default=[1, 20])
    parser.add_argument("--only", nargs="+", default=["raw", *DURABILITIES])
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        lines = runner.run(measured(options))
    verdicts = judge(lines, WAIT_S * 1e3)
    for verdict in verdicts:
        print(json.dumps(asdict(verdict)), flush=True)
    raise SystemExit(not all(verdict.met for verdict in verdicts))


async def measured(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All measurements, each printed as it is taken."""
    lines = []
    async with Processes() as processes, AsyncExitStack() as stack:
        connect_raw = await stack.enter_async_context(raw(processes))
        connect_mesh = await stack.enter_async_context(mesh(processes))
        systems: dict[str, Ask] = {
            "raw": await stack.enter_async_context(connect_raw("raw")),
            **{name: await stack.enter_async_context(connect_mesh(name)) for name in DURABILITIES},
        }
        loads = [
            (number, chunks, in_flight, system)
            for number in range(options.rounds)
            for chunks in options.chunks
            for in_flight in options.in_flight
            for system in options.only
        ]
        for number, chunks, in_flight, system in loads:
            taken = await closed_loop(
                lambda: systems[system](chunks),  # noqa: B023 - called within the round
                in_flight,
                warm_s=options.warm_s,
                seconds=options.seconds,
            )
            lines.append({"system": system, "chunks": chunks, "round": number, **asdict(taken)})
            print(json.dumps(lines[-1]), flush=True)
    return lines


if __name__ == "__main__":
    main()
