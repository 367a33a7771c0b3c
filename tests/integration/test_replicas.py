"""Several replicas of an agent: runs are spread, made again elsewhere, hedged, and never mixed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import pytest

from answermesh.v1 import query_service_pb2 as pb
from answermesh.v1.agent_service_pb2 import RunRequest, RunResponse
from answermesh.v1.finding_pb2 import Finding, TextDelta
from answermesh.v1.mesh_pb2 import Agent, AgentCard
from answermesh.v1.mesh_service_pb2 import GetAgentRequest
from answermesh.v1.mesh_service_pb2_grpc import MeshServiceStub
from answermesh.v1.query_pb2 import Query, QueryEvent
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from bench.fanout.agent import AUTHOR
from bench.processes import Processes
from tests.integration.test_orchestrator import ask
from tests.scripted_agents import WAYS, ScriptedAgent, agents_reached_by, all_serving, found, scripted_mesh, serving

EPHEMERAL = pb.AskRequest.DURABILITY_EPHEMERAL
CARD = AgentCard(agent="author", produces=[Finding.KIND_TEXT_DELTA], idempotent=True)
PLANS = {"one": {"agents": {"author": {"required": True}}}}


class Author:
    """A replica: tells its text, or does nothing for ever, as it is told at the moment."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.stalls = False
        self.breaks = False
        self.agent = ScriptedAgent(CARD, self._script)

    async def _script(self, start: RunRequest.Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
        if self.breaks:
            raise asyncio.CancelledError
        if self.stalls:
            await asyncio.Event().wait()
        yield found(Finding(text_delta=TextDelta(text=self.text)))


@pytest.fixture(params=WAYS)
async def replicas(request: pytest.FixtureRequest, dsn: str) -> AsyncIterator[tuple[grpc.aio.Channel, Author, Author]]:
    """A mesh of one agent with two replicas."""
    with agents_reached_by(request.param):
        authors = Author("one"), Author("two")
        async with AsyncExitStack() as stack:
            targets = [await stack.enter_async_context(serving(author.agent)) for author in authors]
            mesh = scripted_mesh(dsn, [], plans=PLANS, more={"author": {"targets": targets}})
            channel = await stack.enter_async_context(mesh)
            await all_serving(channel, {"author"})
            # Both are known to serve when both have answered.
            while not all(author.agent.starts for author in authors):
                await ask(channel, plan="one", durability=EPHEMERAL)
            yield channel, *authors


def attempts(events: list[QueryEvent]) -> int:
    return sum(event.HasField("agent_started") for event in events)


async def test_runs_go_to_the_replica_with_the_fewest(
    replicas: tuple[grpc.aio.Channel, Author, Author],
) -> None:
    channel, one, two = replicas
    one.stalls = two.stalls = True
    before = [len(author.agent.starts) for author in (one, two)]
    calls = [QueryServiceStub(channel).Ask(pb.AskRequest(question="?", plan="one")) for _ in range(8)]
    async with asyncio.timeout(20):
        # Nothing tells of every start.
        while sum(len(author.agent.starts) for author in (one, two)) < sum(before) + 8:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    shown = (await MeshServiceStub(channel).GetAgent(GetAgentRequest(name="agents/author"))).agent.replicas
    for call in calls:
        call.cancel()

    assert [len(author.agent.starts) - was for author, was in zip((one, two), before, strict=True)] == [4, 4]
    assert [(one.health, one.running_count, one.ejected) for one in shown] == [(Agent.HEALTH_SERVING, 4, False)] * 2


async def test_a_run_that_is_cut_off_is_made_at_the_other_replica_at_once(
    replicas: tuple[grpc.aio.Channel, Author, Author],
) -> None:
    channel, one, _ = replicas
    one.breaks = True
    answers = [await ask(channel, plan="one", durability=EPHEMERAL) for _ in range(6)]

    assert [events[-1].query_ended.state for events in answers] == [Query.STATE_SUCCEEDED] * 6
    assert {events[-1].query_ended.answer.text for events in answers} == {"two"}
    assert max(map(attempts, answers)) == 2
    # It is ejected after three failures, and left alone for a second.
    assert Counter(map(attempts, answers))[2] <= 4


async def test_a_run_that_is_slower_than_nearly_all_is_hedged_and_the_loser_cancelled(
    replicas: tuple[grpc.aio.Channel, Author, Author],
) -> None:
    channel, one, _ = replicas
    for _ in range(40):
        await ask(channel, plan="one", durability=EPHEMERAL)
    one.stalls = True
    answers = [await ask(channel, plan="one", durability=EPHEMERAL) for _ in range(4)]
    await asyncio.wait_for(one.agent.cancelled.wait(), 10)

    assert {events[-1].query_ended.answer.text for events in answers} == {"two"}
    assert {events[-1].query_ended.state for events in answers} == {Query.STATE_SUCCEEDED}
    assert max(map(attempts, answers)) == 2


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_no_answer_fails_when_one_of_two_replicas_dies_or_hangs_under_load(dsn: str, how: signal.Signals) -> None:
    async with Processes() as processes:
        targets = [await processes.start("-m", "bench.fanout.agent", AUTHOR) for _ in range(2)]
        plans = {"one": {"agents": {AUTHOR: {"required": True}}}}
        async with scripted_mesh(dsn, [], plans=plans, more={AUTHOR: {"targets": targets}}) as channel:
            await all_serving(channel, {AUTHOR})
            states: Counter[int] = Counter()
            struck, over = asyncio.Event(), asyncio.Event()

            async def user() -> None:
                while not over.is_set():
                    # Less than the connection's keepalive takes to notice.
                    events = await ask(channel, question="1 part", plan="one", timeout={"seconds": 4})
                    states[events[-1].query_ended.state] += 1
                    if states.total() == 60:
                        os.kill(processes.pids[0], how)
                        struck.set()
                    if states.total() > 200:
                        over.set()

            async with asyncio.timeout(50), asyncio.TaskGroup() as users:
                for _ in range(8):
                    users.create_task(user())
            if how is signal.SIGSTOP:
                os.kill(processes.pids[0], signal.SIGCONT)

    assert struck.is_set()
    assert set(states) == {Query.STATE_SUCCEEDED}


def test_targets_that_were_joined_come_apart_again() -> None:
    from answermesh.rpc.channel import join_targets, split_targets

    for targets in (["127.0.0.1:1", "127.0.0.1:2"], ["unix:/a", "unix:/b"], ["dns:///agent:1"], ["agent:1"]):
        assert split_targets(join_targets(targets)) in (targets, [f"ipv4:{target}" for target in targets])
