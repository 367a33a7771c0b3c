"""A query's course, rebuilt from its journal."""

from __future__ import annotations

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.answering.plan import DEFAULT, wire
from answermesh.orchestrator.answering.recovery import Course, agents_of, elapsed_s
from answermesh.rpc.status import status_from
from answermesh.v1.finding_pb2 import Finding, Passage, Subquestion, TextDelta
from answermesh.v1.mesh_pb2 import AgentCard
from answermesh.v1.query_pb2 import Query, QueryEvent, UsageRecord
from tests.unit.test_plan import CARDS

WIRING = wire(DEFAULT, CARDS)


def started(agent: str) -> QueryEvent:
    return QueryEvent(agent_started=QueryEvent.AgentStarted(agent=agent, attempt=1))


def ended(agent: str, failure: Failure | None = None) -> QueryEvent:
    error = status_from(failure) if failure else None
    return QueryEvent(agent_ended=QueryEvent.AgentEnded(agent=agent, error=error))


def told(agent: str, **value: object) -> QueryEvent:
    return QueryEvent(finding=Finding(id=next(iter(value)), agent=agent, **value))  # type: ignore[arg-type]  # one value


HISTORY = [
    QueryEvent(state_changed=QueryEvent.StateChanged(state=Query.STATE_QUEUED)),
    QueryEvent(state_changed=QueryEvent.StateChanged(state=Query.STATE_RUNNING)),
    *(started(name) for name in CARDS),
    told("entities", subquestion=Subquestion(text="Who leads?")),
    ended("entities"),
    told("retrieval", passage=Passage(text="Raft elects a leader.")),
    ended("graph", Failure(Reason.SERVICE_UNAVAILABLE, "gone")),
    told("synthesis", text_delta=TextDelta(text="Raft ")),
    QueryEvent(usage=UsageRecord(agent="synthesis", id="call-1", input_tokens=7)),
]


def test_agents_that_ended_are_over_and_the_others_are_still_to_run() -> None:
    course = Course(WIRING, HISTORY)

    assert {step.agent for step in course.flow.running()} == {"retrieval", "synthesis", "citation", "factcheck"}
    assert [end.step.agent for end in course.flow.failures()] == ["graph"]
    assert course.running
    assert course.attempts["synthesis"] == 1


def test_an_agent_that_is_run_anew_is_given_all_that_it_consumes() -> None:
    course = Course(WIRING, HISTORY)
    course.flow.begin()

    retrieval, whole = course.flow.replay("retrieval")
    synthesis, more = course.flow.replay("synthesis")

    assert ([f.subquestion.text for f in retrieval], whole) == (["Who leads?"], True)
    assert ([f.passage.text for f in synthesis], more) == (["Raft elects a leader."], False)


def test_what_the_journal_holds_is_dropped_when_it_is_told_again() -> None:
    flow = Course(WIRING, HISTORY).flow
    flow.replay("retrieval")
    flow.replay("synthesis")

    again = flow.found("retrieval", [Finding(id="passage", passage=Passage(text="Raft elects a leader."))])
    text = flow.found("synthesis", [Finding(id="t", text_delta=TextDelta(text="Raft elects"))])

    assert not again.new
    assert [(f.text_delta.offset, f.text_delta.text) for f in text.new] == [(5, "elects")]


def test_the_answer_and_its_usage_are_what_they_were() -> None:
    tally = Course(WIRING, HISTORY).tally

    answer = tally.answer.build()
    assert answer is not None
    assert answer.text == "Raft "
    assert tally.usage.input_tokens == 7
    assert not tally.count(UsageRecord(agent="synthesis", id="call-1", input_tokens=7))


def test_an_agent_that_only_the_former_owner_knew_counts_as_failed() -> None:
    course = Course(WIRING, [*HISTORY, started("glossary"), told("glossary", subquestion=Subquestion(text="Why?"))])

    assert [end.step.agent for end in course.flow.failures()] == ["graph", "glossary"]
    assert [f.subquestion.text for f in course.flow.replay("retrieval")[0]] == ["Who leads?", "Why?"]
    assert agents_of(HISTORY) == set(CARDS)


def test_an_agent_that_may_not_be_run_twice_broke_off_with_its_orchestrator() -> None:
    once = AgentCard()
    once.CopyFrom(CARDS["citation"])
    once.idempotent = False
    course = Course(wire(DEFAULT, CARDS | {"citation": once}), HISTORY)

    assert [step.agent for step, _ in course.cut] == ["citation"]
    assert not Course(wire(DEFAULT, CARDS | {"citation": once}), HISTORY[:2]).cut


def test_the_time_a_query_has_run_is_counted_from_its_start() -> None:
    assert elapsed_s(HISTORY[:1]) == 0.0
    assert elapsed_s(HISTORY) > 1e9  # an event without a time is from 1970
