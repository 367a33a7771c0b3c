"""What other runtimes of agents leave their callers with: a wait for ever, or another's answer. Here each is told.

An unknown agent, a worker that dies, answers that are mixed up, a cancellation that stays at home. That an agent may be
there more than once is in test_replicas.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from answermesh.rpc.channel import open_channel
from answermesh.v1 import query_service_pb2 as pb
from answermesh.v1.agent_service_pb2 import RunManyRequest, RunRequest, RunResponse
from answermesh.v1.agent_service_pb2_grpc import AgentServiceStub
from answermesh.v1.finding_pb2 import Finding, TextDelta
from answermesh.v1.mesh_pb2 import AgentCard
from answermesh.v1.query_pb2 import Query
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from bench.fanout.agent import AUTHOR
from bench.processes import Processes
from tests.integration.test_orchestrator import ask, stalls
from tests.scripted_agents import WAYS, ScriptedAgent, agents_reached_by, all_serving, found, scripted_mesh, serving

CARD = AgentCard(agent="author", produces=[Finding.KIND_TEXT_DELTA])


@pytest.fixture(autouse=True, params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    with agents_reached_by(request.param):
        yield


async def echo(start: RunRequest.Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
    await asyncio.sleep(0)
    yield found(Finding(text_delta=TextDelta(text=start.question)))


@pytest.mark.parametrize(("required", "state"), [(True, Query.STATE_FAILED), (False, Query.STATE_PARTIAL)])
async def test_a_caller_of_an_agent_that_nobody_knows_is_told_at_once(
    dsn: str, required: bool, state: Query.State.ValueType
) -> None:
    plans = {"default": {"agents": {"author": {}, "nobody": {"required": required}}}}
    async with scripted_mesh(dsn, [ScriptedAgent(CARD, echo)], plans) as channel:
        final = (await ask(channel))[-1].query_ended

    assert final.state == state
    assert [failure.agent for failure in final.failures] == ["nobody"]
    assert "not part of the mesh" in final.failures[0].error.message


async def test_a_caller_of_an_agent_that_dies_in_mid_run_is_told(dsn: str) -> None:
    async with Processes() as processes:
        address = await processes.start("-m", "bench.fanout.agent", AUTHOR)
        plans = {"default": {"agents": {AUTHOR: {"required": True, "max_attempts": 1}}}}
        async with scripted_mesh(dsn, [], plans, {AUTHOR: {"targets": [address]}}) as channel:
            await all_serving(channel, {AUTHOR})
            # More parts than it tells in the time that it lives.
            call = QueryServiceStub(channel).Ask(pb.AskRequest(question="1000000 parts"), timeout=30)
            alive = True
            async for response in call:
                if alive and response.event.HasField("finding"):
                    os.kill(processes.pids[0], signal.SIGKILL)
                    alive = False
                final = response.event.query_ended

    assert final.state == Query.STATE_PARTIAL
    assert [failure.agent for failure in final.failures] == [AUTHOR]


async def test_each_of_many_callers_at_once_gets_its_own_answer(dsn: str) -> None:
    async with scripted_mesh(dsn, [ScriptedAgent(CARD, echo)], {"default": {"agents": {"author": {}}}}) as channel:
        questions = [f"Question {number}?" for number in range(60)]
        answers = await asyncio.gather(*(ask(channel, question=question) for question in questions))

    assert [events[-1].query_ended.answer.text for events in answers] == questions
    assert all(event.query == events[0].query for events in answers for event in events)


async def test_two_orchestrators_that_number_their_runs_alike_get_their_own_answers() -> None:
    with agents_reached_by(WAYS[1]):
        async with serving(ScriptedAgent(CARD, echo)) as address:
            channels = open_channel(address), open_channel(address)
            calls = [AgentServiceStub(channel).RunMany() for channel in channels]
            for caller, call in zip("ab", calls, strict=True):
                start = RunRequest.Start(query=f"queries/{caller}", question=f"for {caller}")
                await call.write(RunManyRequest(parts=[RunManyRequest.Part(run=1, start=start, half_close=True)]))
            texts = ["", ""]
            for index, call in enumerate(calls):
                await call.done_writing()
                async for response in call:
                    texts[index] += "".join(f.text_delta.text for part in response.parts for f in part.findings)
            for channel in channels:
                await channel.close()

    assert texts == ["for a", "for b"]


async def test_a_caller_that_hangs_up_stops_the_agent_two_processes_away(dsn: str) -> None:
    agent = ScriptedAgent(CARD, stalls)
    async with scripted_mesh(dsn, [agent], {"default": {"agents": {"author": {}}}}) as channel:
        call = QueryServiceStub(channel).Ask(pb.AskRequest(question="Well?"), timeout=30)
        await call.read()
        await asyncio.wait_for(agent.started.wait(), 10)
        call.cancel()
        await asyncio.wait_for(agent.cancelled.wait(), 10)
