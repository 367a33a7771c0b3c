"""What findings add up to, and how a query ends."""

from __future__ import annotations

import pytest

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.answering.answer import AnswerBuilder
from answermesh.orchestrator.answering.ending import Tally
from answermesh.orchestrator.answering.flow import AgentEnd
from answermesh.orchestrator.answering.plan import Step
from answermesh.v1.finding_pb2 import Citation, Conclusion, Finding, Sentence, TextDelta, Verdict
from answermesh.v1.query_pb2 import Query, UsageRecord

RECORD = Query(name="queries/q", question="Why?")


def told(*, verdicts: int = 2) -> Tally:
    """Two sentences, the second cited twice, of which the first `verdicts` are supported."""
    tally = Tally()
    add = tally.answer.add
    add(Finding(text_delta=TextDelta(text="One. ", offset=0)))
    add(Finding(text_delta=TextDelta(text="Two.", offset=5)))
    add(Finding(citation=Citation(sentence_index=1, confidence=0.4, document="documents/a")))
    add(Finding(sentence=Sentence(index=0, text="One.")))
    add(Finding(sentence=Sentence(index=1, text="Two.")))
    add(Finding(citation=Citation(sentence_index=1, confidence=0.9, document="documents/b")))
    for index in range(verdicts):
        add(Finding(verdict=Verdict(sentence_index=index, value=Verdict.VALUE_SUPPORTED)))
    add(Finding(conclusion=Conclusion(mode=Conclusion.MODE_EXTRACTIVE, answered=True, confidence=0.8)))
    return tally


def ended(tally: Tally, stopped: Failure | None = None) -> Query:
    return tally.end(RECORD, stopped=stopped).query_ended


def test_an_answer_holds_its_text_its_sentences_and_what_carries_them() -> None:
    answer = told().answer.build()

    assert answer is not None
    assert answer.text == "One. Two."
    assert [sentence.text for sentence in answer.sentences] == ["One.", "Two."]
    assert [citation.document for citation in answer.sentences[1].citations] == ["documents/b", "documents/a"]
    assert answer.sentences[0].verdict.value == Verdict.VALUE_SUPPORTED


def test_confidence_falls_with_each_sentence_that_is_not_supported() -> None:
    whole, half = told().answer.build(), told(verdicts=1).answer.build()

    assert whole is not None
    assert half is not None
    assert whole.confidence == pytest.approx(0.8)
    assert half.confidence == pytest.approx(0.4)


def test_text_that_does_not_follow_on_the_text_before_is_refused() -> None:
    builder = AnswerBuilder()
    builder.add(Finding(text_delta=TextDelta(text="So", offset=0)))

    with pytest.raises(Failure, match="offset 1 of an answer of 2 characters"):
        builder.add(Finding(agent="synthesis", text_delta=TextDelta(text="what", offset=1)))


def test_a_query_whose_agents_all_ended_well_succeeded() -> None:
    assert ended(told()).state == Query.STATE_SUCCEEDED


def test_a_failed_optional_agent_leaves_a_partial_answer_that_names_it() -> None:
    tally = told()
    tally.failures = [AgentEnd(Step("graph"), Failure(Reason.SERVICE_UNAVAILABLE, "The agent is gone."))]
    final = ended(tally)

    assert final.state == Query.STATE_PARTIAL
    assert [(f.agent, f.required, f.error.message) for f in final.failures] == [("graph", False, "The agent is gone.")]


def test_a_failed_required_agent_fails_a_query_without_text_with_its_cause() -> None:
    tally = Tally()
    tally.failures = [
        AgentEnd(Step("graph"), Failure(Reason.INTERNAL, "bug")),
        AgentEnd(Step("retrieval", required=True), Failure(Reason.SERVICE_UNAVAILABLE, "It is gone.")),
    ]
    final = ended(tally)

    assert final.state == Query.STATE_FAILED
    assert final.error.message == "Agent 'retrieval' failed: It is gone."
    assert final.error.code == 14


def test_a_text_that_was_seen_is_kept_when_its_author_fails() -> None:
    tally = told()
    tally.failures = [AgentEnd(Step("synthesis", required=True), Failure(Reason.SERVICE_UNAVAILABLE, "gone"))]

    assert ended(tally).state == Query.STATE_PARTIAL


def test_the_deadline_leaves_the_answer_that_exists_by_then() -> None:
    late = Failure(Reason.DEADLINE_EXCEEDED, "too long")

    assert ended(told(), late).state == Query.STATE_PARTIAL
    assert ended(Tally(), late).state == Query.STATE_FAILED
    assert ended(Tally(), late).error.code == 4


def test_an_agent_stopped_because_of_anothers_failure_is_not_blamed() -> None:
    tally = told()
    tally.failures = [AgentEnd(Step("citation"), Failure(Reason.CANCELLED, "Stopped."))]

    assert not ended(tally).failures


def test_a_cancelled_query_is_cancelled_whatever_it_had() -> None:
    assert ended(told(), Failure(Reason.CANCELLED, "stop")).state == Query.STATE_CANCELLED


def test_a_call_of_a_model_counts_once_however_often_it_is_told() -> None:
    tally = Tally()
    call = UsageRecord(id="1", agent="synthesis", input_tokens=10, output_tokens=5, cost_micros=7)

    assert [tally.count(call), tally.count(call)] == [True, False]
    assert (tally.usage.model_calls, tally.usage.input_tokens, tally.usage.cost_micros) == (1, 10, 7)


def test_a_query_is_ended_from_its_journal_as_it_would_have_been() -> None:
    first = told()
    final = ended(first)
    replayed = Tally()
    replayed.answer = first.answer

    assert ended(replayed).answer == final.answer
