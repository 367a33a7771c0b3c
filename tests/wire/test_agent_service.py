"""AgentService over gRPC: starts, order, back-pressure, failures, cancellation, and the lease at a mesh.

What holds of a run holds over a stream of its own and over one that many share.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
import pytest

from answermesh.agents import Run
from answermesh.agents.serving.outgoing import QUEUE_LIMIT
from answermesh.agents.serving.registration import keep_registered
from answermesh.agents.serving.service import mount_agent
from answermesh.config import Settings
from answermesh.errors import Failure, Reason
from answermesh.rpc.channel import open_channel
from answermesh.rpc.server import Server
from answermesh.rpc.status import failure_from
from answermesh.v1.agent_service_pb2 import GetCardRequest, RunRequest, RunResponse
from answermesh.v1.agent_service_pb2_grpc import AgentServiceStub
from answermesh.v1.finding_pb2 import Finding, Note, Subquestion
from answermesh.v1.mesh_pb2 import AgentCard
from answermesh.v1.mesh_service_pb2 import RegisterAgentRequest, RegisterAgentResponse
from answermesh.v1.mesh_service_pb2_grpc import MeshServiceServicer, add_MeshServiceServicer_to_server
from answermesh.v1.query_pb2 import UsageRecord
from tests.wire.run_many import Multiplexed

Serving = Callable[[Callable[[Run], Any]], AbstractAsyncContextManager[Any]]
CARD = AgentCard(
    agent="echo",
    consumes=[AgentCard.Consumption(kind=Finding.KIND_SUBQUESTION)],
    produces=[Finding.KIND_NOTE],
    # Set by the wrapper.
    multiplexed=True,
)
START = RunRequest(start=RunRequest.Start(query="queries/1", question="What is it?"))


class Scripted:
    """An agent whose run is a function."""

    card = CARD

    def __init__(self, body: Callable[[Run], Any]) -> None:
        self._body = body

    async def run(self, run: Run) -> None:
        await self._body(run)


def note(text: str) -> Finding:
    return Finding(note=Note(label="echo", text=text))


def asked(text: str) -> RunRequest:
    return RunRequest(findings=[Finding(id=text, subquestion=Subquestion(text=text))])


async def echo(run: Run) -> None:
    async for finding in run.findings:
        await run.emit(note(finding.subquestion.text))


@pytest.fixture(params=["own stream", "shared stream"])
def served(request: pytest.FixtureRequest) -> Serving:
    """Serves an agent; gives a stub whose runs go by the one way or the other."""
    if request.param == "own stream":
        return own_stream

    @asynccontextmanager
    async def shared_stream(body: Callable[[Run], Any]) -> AsyncIterator[Any]:
        async with own_stream(body) as stub:
            yield Multiplexed(stub)

    return shared_stream


@asynccontextmanager
async def own_stream(body: Callable[[Run], Any]) -> AsyncIterator[Any]:
    server = Server("127.0.0.1:0", drain_wait_s=0)
    async with mount_agent(server, Settings(), Scripted(body)):
        address = await server.start()
        try:
            async with open_channel(address) as channel:
                yield AgentServiceStub(channel)
        finally:
            await server.drain(grace_s=0)


async def outcome(agent: Any, *requests: RunRequest) -> tuple[list[RunResponse], Failure | None]:
    call = agent.Run(iter(requests), timeout=10)
    responses: list[RunResponse] = []
    try:
        async for response in call:
            responses.append(response)
    except grpc.aio.AioRpcError as error:
        return responses, failure_from(error)
    return responses, None


def texts(responses: list[RunResponse]) -> list[str]:
    return [finding.note.text for response in responses for finding in response.findings]


async def test_the_card_and_findings_in_the_order_they_were_sent(served: Serving) -> None:
    async with served(echo) as agent:
        assert (await agent.GetCard(GetCardRequest())).card == CARD
        responses, failure = await outcome(agent, START, *(asked(str(n)) for n in range(200)))
    assert failure is None
    assert texts(responses) == [str(n) for n in range(200)]


async def test_empty_identifiers_follow_from_the_content(served: Serving) -> None:
    async with served(echo) as agent:
        ids = []
        for _ in range(2):
            responses, _ = await outcome(agent, START, asked("a"), asked("b"))
            ids.append([finding.id for response in responses for finding in response.findings])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2
    assert all(0 < len(one) <= 64 for one in ids[0])


async def test_findings_that_are_ready_together_share_a_message(served: Serving) -> None:
    async def burst(run: Run) -> None:
        await run.emit(*(note(str(n)) for n in range(20)))

    async with served(burst) as agent:
        responses, _ = await outcome(agent, START)
    assert len(responses) < 20
    assert len(texts(responses)) == 20


@pytest.mark.parametrize(
    ("requests", "field"),
    [
        ([RunRequest(start=RunRequest.Start(query="nonsense", question="?"))], "start.query"),
        ([RunRequest(start=RunRequest.Start(query="queries/1", question=" "))], "start.question"),
        ([RunRequest(start=RunRequest.Start(query="queries/1", question="x" * 4001))], "start.question"),
    ],
)
async def test_a_run_that_does_not_start_well_names_the_field(
    served: Serving, requests: list[RunRequest], field: str
) -> None:
    async with served(echo) as agent:
        _, failure = await outcome(agent, *requests)
    assert failure is not None
    assert failure.reason is Reason.INVALID_FIELD
    assert failure.fields[0].path.startswith(field)


@pytest.mark.parametrize("requests", [[], [asked("a")], [START, START]])
async def test_a_stream_of_its_own_starts_once_and_first(requests: list[RunRequest]) -> None:
    async with own_stream(echo) as agent:
        _, failure = await outcome(agent, *requests)
    assert failure is not None
    assert failure.reason is Reason.INVALID_FIELD
    assert failure.fields[0].path.startswith("start")


async def test_a_kind_that_the_card_does_not_declare_ends_the_run_after_what_was_found(served: Serving) -> None:
    async def lying(run: Run) -> None:
        await run.emit(note("true"))
        await run.emit(Finding(subquestion=Subquestion(text="?")))

    async with served(lying) as agent:
        responses, failure = await outcome(agent, START)
    assert texts(responses) == ["true"]
    assert failure is not None
    assert failure.reason is Reason.INVALID_CARD
    assert "SUBQUESTION" in failure.message


async def test_an_exception_of_an_agent_is_told_without_its_text(served: Serving) -> None:
    async def broken(run: Run) -> None:
        raise RuntimeError("password=hunter2")

    async with served(broken) as agent:
        _, failure = await outcome(agent, START)
    assert failure is not None
    assert failure.reason is Reason.INTERNAL
    assert "hunter2" not in failure.message


async def test_a_failure_within_a_group_is_told_as_it_is(served: Serving) -> None:
    async def failing(run: Run) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait())
            raise Failure(Reason.MODEL_UNAVAILABLE, "No model answers; see the log.")

    async with served(failing) as agent:
        _, failure = await outcome(agent, START)
    assert failure is not None
    assert failure.reason is Reason.MODEL_UNAVAILABLE


async def test_an_agent_that_is_cancelled_from_within_is_told_as_gone(served: Serving) -> None:
    async def cancelled(run: Run) -> None:
        raise asyncio.CancelledError

    async with served(cancelled) as agent:
        _, failure = await outcome(agent, START)
    assert failure is not None
    assert failure.reason is Reason.SERVICE_UNAVAILABLE


async def test_usage_is_sent_even_where_nothing_was_found(served: Serving) -> None:
    async def paying(run: Run) -> None:
        run.ledger.record(UsageRecord(id="1", model="m"))

    async with served(paying) as agent:
        responses, _ = await outcome(agent, START)
    assert [record.model for response in responses for record in response.usage] == ["m"]


async def test_an_agent_may_end_before_its_input_does(served: Serving) -> None:
    async def hasty(run: Run) -> None:
        await run.emit(note("done"))

    never = asyncio.Event()

    async def requests() -> AsyncIterator[RunRequest]:
        yield START
        await never.wait()

    async with served(hasty) as agent:
        call = agent.Run(requests(), timeout=10)
        assert texts([response async for response in call]) == ["done"]


async def test_hanging_up_cancels_the_agent(served: Serving) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def waiting(run: Run) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with served(waiting) as agent:
        call = agent.Run(iter([START]), timeout=10)
        await started.wait()
        call.cancel()
        async with asyncio.timeout(10):
            await cancelled.wait()
        # The service still works.
        assert (await agent.GetCard(GetCardRequest())).card == CARD


async def test_a_slow_reader_holds_the_agent_back(served: Serving) -> None:
    emitted = 0
    full = asyncio.Event()

    async def flooding(run: Run) -> None:
        nonlocal emitted
        for n in range(10_000):
            emit = asyncio.ensure_future(run.emit(note(f"{n} {'x' * 4000}")))
            await asyncio.sleep(0)
            if not emit.done():
                full.set()
            await emit
            emitted += 1

    async with served(flooding) as agent:
        call = agent.Run(iter([START]), timeout=10)
        await call.read()
        async with asyncio.timeout(10):
            await full.wait()
        assert emitted < 10_000 - QUEUE_LIMIT
        call.cancel()


class FakeMesh(MeshServiceServicer):
    """Grants leases of a moment, and ends each stream after as many beats as scripted."""

    def __init__(self, *beats: int) -> None:
        self._beats = list(beats)
        self.registered: asyncio.Queue[RegisterAgentRequest] = asyncio.Queue()
        self.gone = asyncio.Event()

    async def RegisterAgent(self, requests: AsyncIterator[RegisterAgentRequest], context: Any) -> Any:
        left = self._beats.pop(0) if self._beats else -1
        first = True
        try:
            async for request in requests:
                if first:
                    self.registered.put_nowait(request)
                    first = False
                if left == 0:
                    raise Failure(Reason.DATABASE_UNAVAILABLE, "The database does not answer; try again.")
                left -= 1
                response = RegisterAgentResponse(name="agents/echo")
                response.lease_duration.FromMilliseconds(3000)
                yield response
        finally:
            self.gone.set()


class RefusingMesh(MeshServiceServicer):
    """Takes no card."""

    async def RegisterAgent(self, requests: AsyncIterator[RegisterAgentRequest], context: Any) -> Any:
        raise Failure(Reason.INVALID_CARD, "The card names no agent.")
        yield


@asynccontextmanager
async def mesh(servicer: MeshServiceServicer) -> AsyncIterator[str]:
    server = Server("127.0.0.1:0", drain_wait_s=0)
    server.add(add_MeshServiceServicer_to_server, servicer)
    address = await server.start()
    try:
        yield address
    finally:
        await server.drain(grace_s=0)


async def no_pause(wait_s: float) -> None:
    """Waiting, without the wait: the scripted clock of these tests."""
    await asyncio.sleep(0)


async def test_an_agent_registers_beats_and_registers_again_after_a_break() -> None:
    servicer = FakeMesh(3, 3)
    async with mesh(servicer) as address, asyncio.timeout(10), asyncio.TaskGroup() as group:
        registering = group.create_task(keep_registered(address, "127.0.0.1:7", CARD, pause=no_pause))
        for _ in range(3):
            request = await servicer.registered.get()
            assert (request.target, request.card) == ("127.0.0.1:7", CARD)
        servicer.gone.clear()
        registering.cancel()
        await servicer.gone.wait()


async def test_a_refused_card_is_not_offered_again() -> None:
    async with mesh(RefusingMesh()) as address, asyncio.timeout(10):
        with pytest.raises(Failure) as raised:
            await keep_registered(address, "127.0.0.1:7", CARD, pause=no_pause)
    assert raised.value.reason is Reason.INVALID_CARD


async def test_an_unknown_agent_of_ours_is_not_found() -> None:
    with pytest.raises(Failure) as raised:
        async with mount_agent(Server("127.0.0.1:0"), Settings(), "nobody"):
            pass
    assert raised.value.reason is Reason.NOT_FOUND
