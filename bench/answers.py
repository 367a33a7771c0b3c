"""Answered questions a second over the sample documents, without a language model: `make bench-answers`, JSON lines.

    python -m bench.answers [--in-flight 1 4 16] [--seconds 10] [--durability durable ephemeral] [--agents apart packed]

A mesh as `answermesh up` runs it, on a fresh data folder, with examples/documents imported. The questions are
made of the documents' headings: the models remember what they said lately, and a few questions again and again would
measure that. Each line has the rate, the time to the first text and to the last event, how many of the questions the
documents answer, CPU of the mesh per answer and its memory. An answer that is not SUCCEEDED counts as an error, and
makes the exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from answermesh.rpc.channel import open_channel
from answermesh.v1 import query_service_pb2 as pb
from answermesh.v1.query_pb2 import Query
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from bench.fanout.systems import DURABILITIES
from bench.gateway.cost import cpu_s
from bench.mesh import SAMPLES, import_samples, memory_mib, running_mesh

DEADLINE_S = 60.0
_HEADING = re.compile(r"^#{1,4} ([A-Za-z][A-Za-z -]{5,60})$", re.MULTILINE)
# The agents in a process each, or all in one.
LAYOUTS = {"apart": (), "packed": ("--pack", "all")}


async def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--durability", nargs="+", choices=sorted(DURABILITIES), default=["durable", "ephemeral"])
    parser.add_argument("--agents", nargs="+", choices=sorted(LAYOUTS), default=["apart", "packed"])
    options = parser.parse_args()
    errors = 0
    for agents in options.agents:
        with tempfile.TemporaryDirectory(prefix="answers-") as name:
            async with running_mesh(Path(name), *LAYOUTS[agents]) as mesh, open_channel(mesh.grpc) as channel:
                documents = await import_samples(mesh)
                stub = QueryServiceStub(channel)
                questions = itertools.cycle(_questions())
                # The first answers load what is loaded once.
                await asyncio.gather(*(_ask(stub, next(questions), "durable") for _ in range(8)))
                for durability, in_flight in itertools.product(options.durability, options.in_flight):
                    line = await _measured(stub, questions, mesh.pid, durability, in_flight, options.seconds)
                    print(json.dumps({"documents": documents, "agents": agents, **line}), flush=True)
                    errors += line["errors"]
    return 1 if errors else 0


def _questions() -> list[str]:
    found = (_HEADING.findall(path.read_text()) for path in sorted(SAMPLES.rglob("*.md")))
    return [f"What is {heading.lower()}?" for heading in dict.fromkeys(itertools.chain.from_iterable(found))]


async def _ask(stub: QueryServiceStub, question: str, durability: str) -> tuple[float, float, bool]:
    """Seconds to the first text and to the end, and whether the documents answer. Raises where the query fails."""
    request = pb.AskRequest(question=question, durability=DURABILITIES[durability], batched=True)
    began_s, first_s = time.perf_counter(), math.nan
    final = Query()
    async for response in stub.Ask(request, timeout=DEADLINE_S):
        for event in (response.event, *response.more):
            if math.isnan(first_s) and event.finding.HasField("text_delta"):
                first_s = time.perf_counter() - began_s
            if event.HasField("query_ended"):
                final = event.query_ended
    if final.state != Query.STATE_SUCCEEDED:
        raise AssertionError(f"{question} ended {Query.State.Name(final.state)}: {final.error.message}")
    return first_s, time.perf_counter() - began_s, final.answer.answered


async def _measured(
    stub: QueryServiceStub, questions: Iterator[str], pid: int, durability: str, in_flight: int, seconds: float
) -> dict[str, Any]:
    until_s = time.perf_counter() + seconds
    taken: list[tuple[float, float, bool]] = []
    errors: list[str] = []

    async def user() -> None:
        while time.perf_counter() < until_s and len(errors) < 20:
            try:
                taken.append(await _ask(stub, next(questions), durability))
            except (AssertionError, grpc.aio.AioRpcError) as error:
                errors.append(str(error)[:200])

    began_s, used_s = time.perf_counter(), cpu_s(pid)
    async with asyncio.TaskGroup() as users:
        for _ in range(in_flight):
            users.create_task(user())
    took_s, used_s = time.perf_counter() - began_s, cpu_s(pid) - used_s
    first, whole = (sorted(times[index] for times in taken) or [math.nan] for index in (0, 1))
    return {
        "durability": durability,
        "in_flight": in_flight,
        "answered": round(sum(answered for _, _, answered in taken) / max(1, len(taken)), 2),
        "answers_per_s": round(len(taken) / took_s, 2),
        "first_text_ms": _percentiles_ms(first),
        "answer_ms": _percentiles_ms(whole),
        "cpu_ms_per_answer": round(used_s / max(1, len(taken)) * 1e3, 1),
        "memory_mib": memory_mib(pid),
        "errors": len(errors),
        "first_error": errors[0] if errors else "",
    }


def _percentiles_ms(ordered: list[float]) -> dict[str, float]:
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {name: round(ordered[int((len(ordered) - 1) * share)] * 1e3, 1) for name, share in shares.items()}


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
