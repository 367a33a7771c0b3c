"""The database goes away in the middle of an answer, and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from answermesh.store import EmbeddedPostgres
from answermesh.v1 import query_service_pb2 as pb
from answermesh.v1.agent_service_pb2 import RunRequest, RunResponse
from answermesh.v1.finding_pb2 import Finding
from answermesh.v1.query_pb2 import Query
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from tests.integration.test_orchestrator import agents, ask, synthesis, watch
from tests.scripted_agents import scripted_mesh


async def test_a_postgres_killed_in_mid_answer_loses_no_event_and_the_answer_goes_on(tmp_path: Path) -> None:
    gate = asyncio.Event()
    waiting = asyncio.Event()

    async def waits(start: RunRequest.Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
        waiting.set()
        await gate.wait()
        async for response in synthesis(start, inputs):
            yield response

    team = [*agents(synthesis=waits).values()]
    async with (
        EmbeddedPostgres(tmp_path / "data", tmp_path / "run") as postgres,
        scripted_mesh(postgres.dsn, team) as channel,
    ):
        call = QueryServiceStub(channel).Ask(pb.AskRequest(question="Well?"), timeout=60)
        events_to_come = aiter(call)
        seen = [(await anext(events_to_come)).event for _ in range(3)]
        await waiting.wait()
        os.kill(postgres.pid, signal.SIGKILL)
        await postgres.wait()
        gate.set()
        await postgres.restart()
        seen += [response.event async for response in events_to_come]
        stored = await watch(channel, seen[0].query)
        after = (await ask(channel))[-1].query_ended

    events = [event for event in seen if not event.HasField("heartbeat")]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events == stored
    assert events[-1].query_ended.state == Query.STATE_SUCCEEDED
    assert after.state == Query.STATE_SUCCEEDED
