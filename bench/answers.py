"""Answered questions a second over the sample documents, without a language model: `make bench-answers`, JSON lines.

    python -m bench.answers [--in-flight 1 4 16] [--seconds 10] [--durability durable ephemeral] [--agents apart packed]

A mesh as `answermesh up` runs it, on a fresh data folder, with examples/documents imported. Each line has the rate, the
time to the first text and to the last event, CPU of the mesh per answer and its memory. An answer that is not SUCCEEDED
counts as an error, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc

from answermesh.rpc.channel import open_channel
from answermesh.v1 import query_service_pb2 as pb
from answermesh.v1.query_pb2 import Query
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from bench.fanout.systems import DURABILITIES
from bench.gateway.cost import cpu_s
from bench.mesh import import_samples, memory_mib, running_mesh

QUESTIONS = (
    "How does etcd elect a leader?",
    "How do I restore a cluster from a snapshot?",
    "What is a learner?",
    "How many failures can a five-member cluster tolerate?",
    "How do I add a member to a running cluster?",
    "What does a lease do?",
    "When should I defragment?",
    "Which ports does etcd use?",
)
DEADLINE_S = 60.0
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
                # The first answers load what is loaded once.
                await asyncio.gather(*(_ask(stub, question, "durable") for question in QUESTIONS))
                for durability, in_flight in itertools.product(options.durability, options.in_flight):
                    line = await _measured(stub, mesh.pid, durability, in_flight, options.seconds)
                    print(json.dumps({"documents": documents, "agents": agents, **line}), flush=True)
                    errors += line["errors"]
    return 1 if errors else 0


async def _ask(stub: QueryServiceStub, question: str, durability: str) -> tuple[float, float]:
    """Seconds to the first text and to the end. Raises where it is not answered."""
    request = pb.AskRequest(question=question, durability=DURABILITIES[durability], batched=True)
    began_s, first_s = time.perf_counter(), math.nan
    final = Query()
    async for response in stub.Ask(request, timeout=DEADLINE_S):
        for event in (response.event, *response.more):
            if math.isnan(first_s) and event.finding.HasField("text_delta"):
                first_s = time.perf_counter() - began_s
            if event.HasField("query_ended"):
                final = event.query_ended
    if final.state != Query.STATE_SUCCEEDED or not final.answer.answered:
        raise AssertionError(f"{question} ended {Query.State.Name(final.state)}: {final.error.message}")
    return first_s, time.perf_counter() - began_s


async def _measured(
    stub: QueryServiceStub, pid: int, durability: str, in_flight: int, seconds: float
) -> dict[str, Any]:
    questions = itertools.cycle(QUESTIONS)
    until_s = time.perf_counter() + seconds
    taken: list[tuple[float, float]] = []
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
