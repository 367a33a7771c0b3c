"""Fan-out through the public API beside raw grpc.aio, in one run: `make bench-fanout`, one JSON line per measurement.

    python -m bench.fanout [--rounds 3] [--seconds 2] [--in-flight 1 16 64 256] [--chunks 1 20] [--only raw …]
                           [--svg docs/fanout.svg]

Each round measures every system at every load, one after the other, so that ratios are taken within one spell of the
machine. At the end, one line per target; exit code 1 where one is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from bench.fanout.systems import DURABILITIES, Ask, mesh, raw
from bench.fanout.targets import judge
from bench.fanout.workload import WAIT_S, closed_loop
from bench.picture import Panel, svg
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
    parser.add_argument("--svg", type=Path, help="file that gets the curves")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        lines = runner.run(measured(options))
    if options.svg:
        options.svg.write_text(svg(panels(lines)), encoding="utf-8")
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


def panels(lines: list[dict[str, Any]]) -> list[Panel]:
    """Throughput and latency over what is in flight, medians of the rounds, for each number of parts."""
    found = []
    for parts in sorted({line["chunks"] for line in lines}):
        told = "one part each" if parts == 1 else f"{parts} parts each"
        found += [
            Panel(f"Queries a second, {told}", "queries in flight", _curves(lines, parts, "queries_per_s")),
            Panel(f"Median overhead, ms, {told}", "queries in flight", _curves(lines, parts, "overhead_p50_ms")),
        ]
    return found


def _curves(lines: list[dict[str, Any]], parts: int, figure: str) -> dict[str, list[tuple[float, float]]]:
    curves: dict[str, dict[int, list[float]]] = {}
    for line in lines:
        if line["chunks"] == parts and line[figure] > 0:
            curves.setdefault(line["system"], {}).setdefault(line["in_flight"], []).append(line[figure])
    return {name: [(load, median(values)) for load, values in loads.items()] for name, loads in curves.items()}


if __name__ == "__main__":
    main()
