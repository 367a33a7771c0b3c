"""How soon no token is generated for nobody: from a reader's hanging up to the closed connection at the language model.

    python -m bench.cancel [--times 200]

A mesh as `answermesh up` runs it, and a scripted model server that holds its answer after some text. A reader takes in
the first text and goes: a gRPC call is cancelled, an SSE connection is closed, or CancelQuery stops a query of the
background; each a third. By then synthesis, citation and factcheck may each have a request open, and all count. Prints
one JSON line, and ends with 1 where the 99th percentile is over 200 ms, a request comes after, or the ledger grows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2 as httpx

from answermesh.rpc.channel import open_channel
from answermesh.v1 import query_service_pb2 as pb
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from answermesh.v1.usage_service_pb2 import GetUsageRequest
from answermesh.v1.usage_service_pb2_grpc import UsageServiceStub
from bench.mesh import Mesh, import_samples, running_mesh
from tests.scripted_llm import Request, Say, SayJson, ScriptedLLM, Stall

TARGET_MS = 200.0
QUESTION = "How does etcd elect a leader?"
# Two sentences, so that both are with the judges already, and a third that never ends.
WORDS = (
    "A leader is elected by the members. [1] ",
    "When a leader fails, the cluster elects a new one. [1] ",
    "Until then ",
    "no writes.",
)
HELD_AT = 3
DEADLINE_S = 30.0
# What comes this much later was not on its way when the reader went.
AFTER_S = 0.5


async def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cancel-") as name:
        async with ScriptedLLM() as llm:
            script(llm)
            config = Path(name) / "mesh.toml"
            config.write_text(settings(llm))
            async with running_mesh(Path(name), "--config", str(config)) as mesh:
                await import_samples(mesh)
                line = await measured(mesh, llm, options.times)
    print(json.dumps(line), flush=True)
    wrong = line["requests_after"] + line["requests_left_open"] + line["calls_billed_after"]
    return 1 if wrong or line["p99_ms"] > TARGET_MS else 0


def script(llm: ScriptedLLM) -> None:
    """Write two sentences and hold the third; judges never answer; there are no subquestions."""
    never = asyncio.Event()
    llm.on(lambda request: bool(request.body.get("stream")), Say(chunks=WORDS, holds={HELD_AT: never}))
    llm.on(_judges, Stall())
    llm.on(lambda request: True, SayJson({"subquestions": []}))


def _judges(request: Request) -> bool:
    return "<source-" in request.prompt


def settings(llm: ScriptedLLM) -> str:
    """A settings file whose only language model is the scripted one."""
    table = llm.provider()
    return "[[providers]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())


async def measured(mesh: Mesh, llm: ScriptedLLM, times: int) -> dict[str, float]:
    """Hang up so many times in each way in turn, one after the other."""
    ways: list[Callable[[Mesh], Awaitable[float]]] = [hang_up_grpc, hang_up_sse, cancel_query]
    took_ms: list[float] = []
    requests_after = left_open = billed_after = 0
    for number in range(times):
        seen = len(llm.requests)
        went_s = await ways[number % len(ways)](mesh)
        known, billed = len(llm.requests), await _billed(mesh)
        await asyncio.sleep(AFTER_S)
        requests = llm.requests[seen:]
        took_ms += [(one.disconnected_s - went_s) * 1e3 for one in requests if one.disconnected.is_set()]
        left_open += sum(not one.ended.is_set() for one in requests)
        requests_after += len(llm.requests) - known
        billed_after += await _billed(mesh) - billed
    ordered = sorted(took_ms)
    shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "max_ms": 1.0}
    return {
        "times": times,
        "requests": len(took_ms),
        **{name: round(ordered[int((len(ordered) - 1) * share)], 1) for name, share in shares.items()},
        "requests_after": requests_after,
        "requests_left_open": left_open,
        "calls_billed_after": billed_after,
    }


async def hang_up_grpc(mesh: Mesh) -> float:
    """Ask over gRPC, and cancel the call at the first text; when that was."""
    async with open_channel(mesh.grpc) as channel:
        call = QueryServiceStub(channel).Ask(pb.AskRequest(question=QUESTION), timeout=DEADLINE_S)
        async for response in call:
            if response.event.finding.HasField("text_delta"):
                break
        went_s = time.perf_counter()
        call.cancel()
    return went_s


async def hang_up_sse(mesh: Mesh) -> float:
    """Ask over HTTP, and close the connection at the first text; when that was."""
    async with httpx.AsyncClient(base_url=f"http://{mesh.http}", timeout=DEADLINE_S) as client:
        headers = {"accept": "text/event-stream"}
        body = {"question": QUESTION}
        async with client.stream("POST", "/v1/queries:ask", json=body, headers=headers) as response:
            async for text in response.aiter_lines():
                if "textDelta" in text:
                    break
            went_s = time.perf_counter()
    return went_s


async def cancel_query(mesh: Mesh) -> float:
    """Ask in the background, and cancel the query at the first text; when that was."""
    async with open_channel(mesh.grpc) as channel:
        stub = QueryServiceStub(channel)
        request = pb.CreateQueryRequest(query={"question": QUESTION})
        name = (await stub.CreateQuery(request, timeout=DEADLINE_S)).query.name
        watch = stub.WatchQuery(pb.WatchQueryRequest(name=name), timeout=DEADLINE_S)
        async for response in watch:
            if response.event.finding.HasField("text_delta"):
                break
        went_s = time.perf_counter()
        await stub.CancelQuery(pb.CancelQueryRequest(name=name), timeout=DEADLINE_S)
        watch.cancel()
    return went_s


async def _billed(mesh: Mesh) -> int:
    async with open_channel(mesh.grpc) as channel:
        usage = await UsageServiceStub(channel).GetUsage(GetUsageRequest(), timeout=DEADLINE_S)
    return sum(calls.call_count for calls in usage.model_calls)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
