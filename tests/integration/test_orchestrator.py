"""The orchestrator with a real Postgres and real streams to agents that follow scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import grpc
import pytest

from answermesh.orchestrator import admission
from answermesh.orchestrator.admission import SHARES
from answermesh.rpc.status import failure_from
from answermesh.v1 import query_service_pb2 as pb
from answermesh.v1.agent_service_pb2 import RunRequest, RunResponse
from answermesh.v1.feedback_service_pb2 import CreateFeedbackRequest, Feedback, ListFeedbackRequest
from answermesh.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from answermesh.v1.finding_pb2 import (
    Citation,
    Conclusion,
    Entity,
    Finding,
    Passage,
    Relation,
    Sentence,
    TextDelta,
    Verdict,
)
from answermesh.v1.mesh_pb2 import Health
from answermesh.v1.mesh_service_pb2 import GetHealthRequest, ListAgentsRequest, RegisterAgentRequest
from answermesh.v1.mesh_service_pb2_grpc import MeshServiceStub
from answermesh.v1.query_pb2 import Query, QueryEvent, UsageRecord
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from answermesh.v1.usage_service_pb2 import GetUsageRequest
from answermesh.v1.usage_service_pb2_grpc import UsageServiceStub
from tests.scripted_agents import (
    WAYS,
    Script,
    ScriptedAgent,
    agents_reached_by,
    all_serving,
    found,
    scripted_mesh,
    serving,
)
from tests.unit.test_plan import CARDS, card

Start = RunRequest.Start
TEXT = "Raft elects a leader."


# What holds of runs on streams of their own holds of runs that share one: these are tried both ways.
BOTH_WAYS = {
    "test_a_question_is_answered_cited_and_checked",
    "test_a_failed_optional_agent_leaves_a_partial_answer",
    "test_a_failed_required_agent_fails_the_query_and_stops_the_others",
    "test_an_agent_that_lies_on_its_card_is_stopped_and_named",
    "test_the_deadline_leaves_what_exists_by_then",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    ways = WAYS if metafunc.function.__name__ in BOTH_WAYS else WAYS[1:]
    metafunc.parametrize("way", ways, indirect=True)


@pytest.fixture(autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    with agents_reached_by(request.param):
        yield


async def entities(start: Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
    yield found(Finding(entity=Entity(display_name="Raft")))


async def retrieval(start: Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
    yield found(Finding(passage=Passage(name="documents/d/passages/0", text=TEXT)))
    async for _ in inputs:
        pass


async def graph(start: Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
    async for finding in inputs:
        yield found(Finding(relation=Relation(subject=finding.entity, predicate="elects")))


async def synthesis(start: Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
    passages = [finding.passage async for finding in inputs if finding.HasField("passage")]
    text = passages[0].text
    yield found(Finding(text_delta=TextDelta(text=text)), Finding(sentence=Sentence(text=text)))
    yield RunResponse(usage=[UsageRecord(id="call-1", model="m", input_tokens=7, output_tokens=3, cost_micros=11)])
    yield found(Finding(conclusion=Conclusion(mode=Conclusion.MODE_EXTRACTIVE, answered=True, confidence=1)))


async def citation(start: Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
    async for finding in inputs:
        if finding.HasField("sentence"):
            yield found(Finding(citation=Citation(text=finding.sentence.text, document="documents/d")))


async def factcheck(start: Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
    async for finding in inputs:
        if finding.HasField("sentence"):
            yield found(Finding(verdict=Verdict(value=Verdict.VALUE_SUPPORTED)))


SCRIPTS: dict[str, Script] = {
    "entities": entities,
    "retrieval": retrieval,
    "graph": graph,
    "synthesis": synthesis,
    "citation": citation,
    "factcheck": factcheck,
}


async def breaks(start: Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
    raise OwnFault("the agent's own fault")
    yield  # makes it a generator


class OwnFault(Exception):
    pass


async def stalls(start: Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
    await asyncio.Event().wait()
    yield RunResponse()


def agents(**changed: Script) -> dict[str, ScriptedAgent]:
    """The six agents of the default plan, some with another script."""
    return {name: ScriptedAgent(CARDS[name], changed.get(name, script)) for name, script in SCRIPTS.items()}


async def ask(channel: grpc.aio.Channel, **fields: Any) -> list[QueryEvent]:
    request = pb.AskRequest(**({"question": "How does Raft begin?"} | fields))
    return [response.event async for response in QueryServiceStub(channel).Ask(request, timeout=30)]


async def watch(channel: grpc.aio.Channel, name: str, after: int = 0) -> list[QueryEvent]:
    request = pb.WatchQueryRequest(name=name, after_sequence=after)
    call = QueryServiceStub(channel).WatchQuery(request, timeout=30)
    return [response.event async for response in call if not response.event.HasField("heartbeat")]


def kinds(events: Iterable[QueryEvent]) -> list[str]:
    return [str(event.finding.WhichOneof("value")) for event in events if event.HasField("finding")]


async def test_a_question_is_answered_cited_and_checked(dsn: str) -> None:
    async with scripted_mesh(dsn, [*agents().values()]) as channel:
        events = await ask(channel)

    final = events[-1].query_ended
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert final.state == Query.STATE_SUCCEEDED
    assert final.last_sequence == len(events)
    assert final.answer.text == TEXT
    assert final.answer.sentences[0].citations[0].document == "documents/d"
    assert final.answer.sentences[0].verdict.value == Verdict.VALUE_SUPPORTED
    assert final.answer.confidence == 1
    assert (final.usage.model_calls, final.usage.cost_micros) == (1, 11)
    assert set(kinds(events)) == {
        "entity",
        "passage",
        "relation",
        "text_delta",
        "sentence",
        "conclusion",
        "citation",
        "verdict",
    }


async def test_all_readers_see_the_same_events_from_wherever_they_start(dsn: str) -> None:
    async with scripted_mesh(dsn, [*agents().values()]) as channel:
        events = await ask(channel)
        whole = await watch(channel, events[0].query)
        rest = await watch(channel, events[0].query, after=5)
        stored = await QueryServiceStub(channel).GetQuery(pb.GetQueryRequest(name=events[0].query), timeout=10)

    assert whole == events
    assert rest == events[5:]
    assert stored.query == events[-1].query_ended


async def test_a_failed_optional_agent_leaves_a_partial_answer(dsn: str) -> None:
    async with scripted_mesh(dsn, [*agents(graph=breaks).values()]) as channel:
        final = (await ask(channel))[-1].query_ended

    assert final.state == Query.STATE_PARTIAL
    assert final.answer.text == TEXT
    assert [failure.agent for failure in final.failures] == ["graph"]
    assert "own fault" not in final.failures[0].error.message


async def test_a_failed_required_agent_fails_the_query_and_stops_the_others(dsn: str) -> None:
    team = agents(retrieval=breaks, entities=stalls)
    async with scripted_mesh(dsn, [*team.values()]) as channel:
        final = (await ask(channel))[-1].query_ended
        await asyncio.wait_for(team["entities"].cancelled.wait(), 10)

    assert final.state == Query.STATE_FAILED
    assert "retrieval" in final.error.message
    assert not final.HasField("answer")


async def test_an_agent_that_lies_on_its_card_is_stopped_and_named(dsn: str) -> None:
    async def lies(start: Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
        yield found(Finding(text_delta=TextDelta(text="Trust me.")))

    async with scripted_mesh(dsn, [*agents(graph=lies).values()]) as channel:
        final = (await ask(channel))[-1].query_ended

    assert final.state == Query.STATE_PARTIAL
    assert final.answer.text == TEXT
    assert "which its card does not declare" in final.failures[0].error.message


async def test_the_deadline_leaves_what_exists_by_then(dsn: str) -> None:
    async with scripted_mesh(dsn, [*agents(citation=stalls).values()]) as channel:
        final = (await ask(channel, timeout={"nanos": 800_000_000}))[-1].query_ended

    assert final.state == Query.STATE_PARTIAL
    assert final.answer.text == TEXT
    assert [failure.agent for failure in final.failures] == ["citation"]


async def test_an_agent_that_takes_longer_than_its_own_deadline_is_given_up(dsn: str) -> None:
    plan = {"default": {"agents": {name: {"timeout_s": 0.3 if name == "graph" else 10} for name in SCRIPTS}}}
    async with scripted_mesh(dsn, [*agents(graph=stalls).values()], plan) as channel:
        final = (await ask(channel))[-1].query_ended

    assert final.state == Query.STATE_PARTIAL
    assert [failure.agent for failure in final.failures] == ["graph"]
    assert final.failures[0].error.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]


async def test_a_reader_who_hangs_up_stops_every_agent(dsn: str) -> None:
    team = agents(retrieval=stalls, entities=stalls)
    async with scripted_mesh(dsn, [*team.values()]) as channel:
        call = QueryServiceStub(channel).Ask(pb.AskRequest(question="Well?"), timeout=30)
        name = (await anext(aiter(call))).event.query
        await team["retrieval"].started.wait()
        await team["entities"].started.wait()
        call.cancel()
        async with asyncio.timeout(10):
            await team["retrieval"].cancelled.wait()
            await team["entities"].cancelled.wait()
        events = await watch(channel, name)

    assert events[-1].query_ended.state == Query.STATE_CANCELLED


async def test_a_background_query_outlives_its_watchers_and_ends_when_cancelled(dsn: str) -> None:
    team = agents(retrieval=stalls)
    async with scripted_mesh(dsn, [*team.values()]) as channel:
        queries = QueryServiceStub(channel)
        query = (await queries.CreateQuery(pb.CreateQueryRequest(query=Query(question="Well?")), timeout=10)).query
        watching = queries.WatchQuery(pb.WatchQueryRequest(name=query.name), timeout=30)
        states = [(await watching.read()).event.state_changed.state for _ in range(2)]
        watching.cancel()
        await asyncio.wait_for(team["retrieval"].started.wait(), 10)
        running = (await queries.GetQuery(pb.GetQueryRequest(name=query.name), timeout=10)).query
        cancelled = (await queries.CancelQuery(pb.CancelQueryRequest(name=query.name), timeout=10)).query
        await asyncio.wait_for(team["retrieval"].cancelled.wait(), 10)
        again = (await queries.CancelQuery(pb.CancelQueryRequest(name=query.name), timeout=10)).query

    assert states == [Query.STATE_QUEUED, Query.STATE_RUNNING]
    assert running.state == Query.STATE_RUNNING
    assert cancelled.state == Query.STATE_CANCELLED
    assert again == cancelled


async def test_the_same_request_id_makes_one_query_and_a_different_request_is_refused(dsn: str) -> None:
    async with scripted_mesh(dsn, [*agents().values()]) as channel:
        queries = QueryServiceStub(channel)
        request = pb.CreateQueryRequest(query=Query(question="Well?"), request_id="r-1")
        first = (await queries.CreateQuery(request, timeout=10)).query
        await watch(channel, first.name)
        second = (await queries.CreateQuery(request, timeout=10)).query
        request.query.question = "What else?"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await queries.CreateQuery(request, timeout=10)

    assert second.name == first.name
    assert failure_from(caught.value).reason.name == "REQUEST_ID_REUSED"


async def test_an_agent_that_goes_away_before_it_wrote_is_tried_again_when_it_is_back(dsn: str) -> None:
    gate = asyncio.Event()

    async def waits(start: Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
        await gate.wait()
        async for response in synthesis(start, inputs):
            yield response

    team = agents()
    author = ScriptedAgent(CARDS["synthesis"], waits)
    async with serving(author) as address:
        pass
    server = serving(author, address)
    await server.__aenter__()
    extra = {"default": {"agents": {name: {"required": name == "synthesis"} for name in SCRIPTS}}}
    rest = [agent for name, agent in team.items() if name != "synthesis"]
    async with scripted_mesh(dsn, rest, extra, more={"synthesis": {"targets": [address]}}) as channel:
        await all_serving(channel, set(SCRIPTS))
        asking = asyncio.create_task(ask(channel))
        await asyncio.wait_for(author.started.wait(), 10)
        await server.__aexit__(None, None, None)
        gate.set()
        async with serving(author, address):
            events = await asking

    assert events[-1].query_ended.state == Query.STATE_SUCCEEDED
    assert events[-1].query_ended.answer.text == TEXT
    assert len(author.starts) == 2


async def test_an_author_that_dies_in_mid_text_leaves_it_partial_and_is_not_run_again(dsn: str) -> None:
    async def dies(start: Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
        yield found(Finding(text_delta=TextDelta(text="Raft ")))
        raise OwnFault

    team = agents(synthesis=dies)
    async with scripted_mesh(dsn, [*team.values()]) as channel:
        final = (await ask(channel))[-1].query_ended

    assert final.state == Query.STATE_PARTIAL
    assert final.answer.text == "Raft "
    assert [(failure.agent, failure.required) for failure in final.failures] == [("synthesis", True)]
    assert len(team["synthesis"].starts) == 1


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.AskRequest(question=""), "question"),
        (pb.AskRequest(question=" \n "), "question"),
        (pb.AskRequest(question="x" * 4001), "question"),
        (pb.AskRequest(question="x", timeout={"seconds": 601}), "timeout"),
        (pb.AskRequest(question="x", documents=["queries/1"]), "documents[0]"),
        (pb.AskRequest(question="x", documents=[f"documents/{n}" for n in range(101)]), "documents"),
    ],
)
async def test_a_bad_question_is_refused_with_its_field(dsn: str, request_: pb.AskRequest, field: str) -> None:
    async with scripted_mesh(dsn, []) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in QueryServiceStub(channel).Ask(request_, timeout=10):
                pass

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [f.path for f in failure_from(caught.value).fields] == [field]


async def test_an_unknown_plan_and_an_unknown_query_are_not_found(dsn: str) -> None:
    async with scripted_mesh(dsn, [*agents().values()]) as channel:
        queries = QueryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as plan:
            await ask(channel, plan="nonsense")
        with pytest.raises(grpc.aio.AioRpcError) as query:
            await queries.GetQuery(pb.GetQueryRequest(name="queries/0"), timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as watched:
            await watch(channel, "queries/0")

    assert {e.value.code() for e in (plan, query, watched)} == {grpc.StatusCode.NOT_FOUND}


async def test_queries_are_listed_page_by_page_newest_first_and_by_state(dsn: str) -> None:
    async with scripted_mesh(dsn, [*agents().values()]) as channel:
        queries = QueryServiceStub(channel)
        names = [(await ask(channel))[0].query for _ in range(3)]
        first = await queries.ListQueries(pb.ListQueriesRequest(page_size=2), timeout=10)
        token = first.next_page_token
        second = await queries.ListQueries(pb.ListQueriesRequest(page_size=2, page_token=token), timeout=10)
        failed = await queries.ListQueries(pb.ListQueriesRequest(filter="state = FAILED"), timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await queries.ListQueries(pb.ListQueriesRequest(page_token=token, filter="state = FAILED"), timeout=10)

    assert [q.name for q in (*first.queries, *second.queries)] == names[::-1]
    assert second.next_page_token == ""
    assert not failed.queries
    assert failure_from(caught.value).reason.name == "INVALID_PAGE_TOKEN"


async def test_a_query_is_deleted_when_it_has_ended_and_not_before(dsn: str) -> None:
    team = agents(retrieval=stalls)
    async with scripted_mesh(dsn, [*team.values()]) as channel:
        queries = QueryServiceStub(channel)
        query = (await queries.CreateQuery(pb.CreateQueryRequest(query=Query(question="Well?")), timeout=10)).query
        with pytest.raises(grpc.aio.AioRpcError) as early:
            await queries.DeleteQuery(pb.DeleteQueryRequest(name=query.name), timeout=10)
        await queries.CancelQuery(pb.CancelQueryRequest(name=query.name), timeout=10)
        await queries.DeleteQuery(pb.DeleteQueryRequest(name=query.name), timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as gone:
            await queries.GetQuery(pb.GetQueryRequest(name=query.name), timeout=10)

    assert early.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert gone.value.code() is grpc.StatusCode.NOT_FOUND


async def test_feedback_is_kept_with_its_query(dsn: str) -> None:
    async with scripted_mesh(dsn, [*agents().values()]) as channel:
        name = (await ask(channel))[0].query
        service = FeedbackServiceStub(channel)
        good = Feedback(rating=Feedback.RATING_GOOD, comment="Yes.", sentence_index=0)
        made = (await service.CreateFeedback(CreateFeedbackRequest(parent=name, feedback=good), timeout=10)).feedback
        listed = await service.ListFeedback(ListFeedbackRequest(parent=name), timeout=10)
        beyond = Feedback(rating=Feedback.RATING_BAD, sentence_index=1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.CreateFeedback(CreateFeedbackRequest(parent=name, feedback=beyond), timeout=10)

    assert list(listed.feedback) == [made]
    assert [f.path for f in failure_from(caught.value).fields] == ["feedback.sentence_index"]


async def test_the_ledger_adds_up_and_outlives_the_queries(dsn: str) -> None:
    async with scripted_mesh(dsn, [*agents().values()]) as channel:
        for _ in range(2):
            name = (await ask(channel))[0].query
        await QueryServiceStub(channel).DeleteQuery(pb.DeleteQueryRequest(name=name), timeout=10)
        usage = await UsageServiceStub(channel).GetUsage(GetUsageRequest(), timeout=10)

    assert {(runs.agent, runs.run_count) for runs in usage.agent_runs} == {(name, 2) for name in SCRIPTS}
    assert [(c.agent, c.model, c.call_count, c.input_tokens) for c in usage.model_calls] == [("synthesis", "m", 2, 14)]
    assert usage.cost_micros == 22


async def test_a_registered_agent_takes_part_until_its_lease_ends(dsn: str) -> None:
    async def explains(start: Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
        async for finding in inputs:
            note = {"label": "glossary", "text": f"{finding.entity.display_name}: a protocol"}
            yield found(Finding(note=note))

    glossary = ScriptedAgent(card("glossary", "ENTITY", "NOTE"), explains)
    async with scripted_mesh(dsn, [*agents().values()]) as channel, serving(glossary) as address:
        mesh = MeshServiceStub(channel)
        lease = mesh.RegisterAgent(timeout=60)
        await lease.write(RegisterAgentRequest(target=address, card=glossary.card))
        acknowledged = await lease.read()
        await all_serving(channel, {"glossary"})
        notes = [event.finding.note.text for event in await ask(channel) if event.finding.HasField("note")]
        await lease.done_writing()
        assert await lease.read() is grpc.aio.EOF
        left = await mesh.ListAgents(ListAgentsRequest(), timeout=10)

    assert acknowledged.name == "agents/glossary"
    assert notes == ["Raft: a protocol"]
    assert "agents/glossary" not in {agent.name for agent in left.agents}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (card("Bad Name", produces="NOTE"), "INVALID_CARD"),
        (card("silent", "ENTITY"), "INVALID_CARD"),
        (card("poet", "PASSAGE", "TEXT_DELTA"), "INVALID_PLAN"),
        (card("circle", "SENTENCE", "PASSAGE"), "INVALID_PLAN"),
        (card("graph", "ENTITY", "NOTE"), "WRONG_STATE"),
    ],
)
async def test_a_card_that_fits_no_plan_is_refused_at_the_door(dsn: str, bad: Any, reason: str) -> None:
    async with scripted_mesh(dsn, [*agents().values()]) as channel:
        lease = MeshServiceStub(channel).RegisterAgent(timeout=10)
        await lease.write(RegisterAgentRequest(target="127.0.0.1:1", card=bad))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await lease.read()
        final = (await ask(channel))[-1].query_ended

    assert failure_from(caught.value).reason.name == reason
    assert final.state == Query.STATE_SUCCEEDED


async def test_health_says_which_part_is_missing(dsn: str) -> None:
    async with scripted_mesh(dsn, [*agents().values()]) as channel:
        health = (await MeshServiceStub(channel).GetHealth(GetHealthRequest(), timeout=10)).health

    components = {component.component: component for component in health.components}
    assert components["database"].status == Health.STATUS_OK
    assert components["agents/synthesis"].status == Health.STATUS_OK
    assert components["knowledge"].status == Health.STATUS_DOWN
    assert components["knowledge"].message
    assert health.status == Health.STATUS_DOWN


# At once, as long as nothing is known: fewer than a mesh lets in, so that these are soon done.
FEW = 20


async def test_background_queries_wait_for_room_while_readers_are_let_in(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "FIRST", FEW)
    lonely = {"default": {"join": False, "agents": {"entities": {}}}}
    agent = ScriptedAgent(CARDS["entities"], stalls)
    async with scripted_mesh(dsn, [agent], lonely) as channel:
        stub = QueryServiceStub(channel)
        limit = int(FEW * SHARES[Query.PRIORITY_BATCH])
        for number in range(limit + 1):
            query = Query(question=f"Well {number}?")
            await stub.CreateQuery(pb.CreateQueryRequest(query=query), timeout=10)
        async with asyncio.timeout(20):
            # Nothing tells of every start.
            while len(agent.starts) < limit:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        read = stub.Ask(pb.AskRequest(question="Well?"), timeout=50)
        # Its first event says that it is accepted; it is stored as running with the next.
        while (await read.read()).event.state_changed.state != Query.STATE_RUNNING:
            pass
        waiting = await stub.ListQueries(pb.ListQueriesRequest(filter="state = QUEUED"), timeout=10)
        running = await stub.ListQueries(pb.ListQueriesRequest(filter="state = RUNNING", page_size=100), timeout=10)
        read.cancel()
        await stub.CancelQuery(pb.CancelQueryRequest(name=running.queries[-1].name), timeout=20)
        async with asyncio.timeout(20):
            first = pb.GetQueryRequest(name=waiting.queries[0].name)
            while (await stub.GetQuery(first, timeout=10)).query.state == Query.STATE_QUEUED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    assert len(waiting.queries) == 1
    assert len(running.queries) == limit + 1


async def test_a_burst_beyond_what_is_answered_at_once_is_refused_after_a_moment_with_a_time(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "FIRST", FEW)
    monkeypatch.setattr(admission, "WAIT", 0.001)

    async def opened(call: Any) -> tuple[str, float | None]:
        try:
            return (await call.read()).event.WhichOneof("event"), None
        except grpc.aio.AioRpcError as error:
            failure = failure_from(error)
            return failure.reason.name, failure.retry_after_s

    lonely = {"default": {"join": False, "agents": {"entities": {}}}}
    async with scripted_mesh(dsn, [ScriptedAgent(CARDS["entities"], stalls)], lonely) as channel:
        stub = QueryServiceStub(channel)
        limit = int(FEW * SHARES[Query.PRIORITY_INTERACTIVE])
        calls = [stub.Ask(pb.AskRequest(question="Well?"), timeout=50) for _ in range(limit + 10)]
        answers = await asyncio.gather(*map(opened, calls))
        critical = stub.Ask(pb.AskRequest(question="Well?", priority=Query.PRIORITY_CRITICAL), timeout=50)
        let_in = await opened(critical)
        for call in (*calls, critical):
            call.cancel()

    assert answers.count(("state_changed", None)) == limit
    assert answers.count(("OVERLOADED", 1.0)) == 10
    assert let_in == ("state_changed", None)


async def test_a_first_burst_waits_until_there_is_room(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "FIRST", FEW)
    lonely = {"default": {"join": False, "agents": {"entities": {}}}}
    async with scripted_mesh(dsn, [ScriptedAgent(CARDS["entities"], stalls)], lonely) as channel:
        stub = QueryServiceStub(channel)
        limit = int(FEW * SHARES[Query.PRIORITY_INTERACTIVE])
        first = [stub.Ask(pb.AskRequest(question="Well?"), timeout=50) for _ in range(limit)]
        await asyncio.gather(*(call.read() for call in first))
        late = stub.Ask(pb.AskRequest(question="Well?"), timeout=50)
        # On one connection, the question arrives before the other's end.
        reading = asyncio.ensure_future(late.read())
        await asyncio.sleep(0)
        first[0].cancel()
        event = (await reading).event
        for call in (*first, late):
            call.cancel()

    assert event.HasField("state_changed")


async def test_a_question_of_a_session_leans_on_the_one_before_until_the_session_is_deleted(dsn: str) -> None:
    async with scripted_mesh(dsn, [*agents().values()]) as channel:
        stub = QueryServiceStub(channel)

        async def asked(question: str) -> list[QueryEvent]:
            request = pb.AskRequest(question=question, session="sessions/talk-1")
            return [response.event async for response in stub.Ask(request, timeout=30)]

        await asked("When was the Eiffel Tower built?")
        events = await asked("Who designed it?")
        await stub.DeleteSession(pb.DeleteSessionRequest(name="sessions/talk-1"), timeout=10)
        after = await asked("Who designed it?")
        with pytest.raises(grpc.aio.AioRpcError) as gone:
            await stub.DeleteSession(pb.DeleteSessionRequest(name="sessions/another"), timeout=10)

    [routed] = [event.routed for event in events if event.HasField("routed")]
    assert routed.question == events[-1].query_ended.resolved_question == "Who designed Eiffel Tower?"
    assert events[-1].query_ended.question == "Who designed it?"
    assert (routed.plan, routed.overridden) == ("default", False)
    assert after[-1].query_ended.resolved_question == ""
    assert gone.value.code() is grpc.StatusCode.NOT_FOUND
