"""The flow of findings through a plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.answering.flow import KIND_OF_MEMBER, Flow, Routed, kind_of
from answermesh.orchestrator.answering.plan import DEFAULT, Plan, Step, wire
from answermesh.v1.finding_pb2 import Entity, Finding, Passage, Sentence, TextDelta
from tests.unit.test_plan import CARDS, card


def flow() -> Flow:
    return Flow(wire(DEFAULT, CARDS))


def passage(finding_id: str) -> Finding:
    return Finding(id=finding_id, passage=Passage(text="x"))


def test_every_kind_has_its_member() -> None:
    assert set(KIND_OF_MEMBER.values()) == set(Finding.Kind.values()) - {Finding.KIND_UNSPECIFIED}
    assert kind_of(Finding()) == Finding.KIND_UNSPECIFIED


def test_an_agent_that_nobody_feeds_is_half_closed_at_once() -> None:
    assert flow().begin() == ["entities"]


def test_a_finding_goes_to_every_consumer_of_its_kind_the_moment_it_is_found() -> None:
    routed = flow().found("retrieval", [passage("p1")])

    assert set(routed.deliveries) == {"synthesis", "citation", "factcheck"}
    assert routed.new[0].agent == "retrieval"


def test_an_agent_is_half_closed_when_the_last_of_its_producers_ended() -> None:
    running = flow()
    running.begin()

    assert running.ended("entities") == ["retrieval", "graph"]
    assert running.ended("retrieval") == []
    assert running.ended("graph") == ["synthesis"]
    assert running.ended("synthesis") == ["citation", "factcheck"]
    assert [step.agent for step in running.running()] == ["citation", "factcheck"]


def test_a_failed_producer_half_closes_those_it_fed_as_a_good_one_does() -> None:
    running = flow()
    running.begin()

    closed = running.ended("entities", Failure(Reason.SERVICE_UNAVAILABLE, "gone"))

    assert closed == ["retrieval", "graph"]
    assert running.fatal() is None


def test_a_required_agents_failure_is_fatal() -> None:
    running = flow()
    running.ended("retrieval", Failure(Reason.SERVICE_UNAVAILABLE, "gone"))

    fatal = running.fatal()
    assert fatal is not None
    assert fatal.step.agent == "retrieval"


def test_a_finding_told_twice_counts_once() -> None:
    running = flow()
    running.found("retrieval", [passage("p1")])

    routed = running.found("retrieval", [passage("p1"), passage("p2"), passage("p2")])

    assert [finding.id for finding in routed.new] == ["p2"]


def test_a_kind_that_the_card_does_not_declare_is_refused_and_nothing_of_the_message_counts() -> None:
    running = flow()

    with pytest.raises(Failure, match="produced entity, which its card does not declare") as caught:
        running.found("retrieval", [passage("p1"), Finding(id="e", entity=Entity())])

    assert caught.value.reason is Reason.INVALID_CARD
    assert running.replay("synthesis") == ([], False)


@pytest.mark.parametrize("finding_id", ["", "x" * 65])
def test_a_finding_without_a_proper_id_is_refused(finding_id: str) -> None:
    with pytest.raises(Failure, match="1-64 characters"):
        flow().found("retrieval", [passage(finding_id)])


def test_another_try_is_given_what_came_so_far() -> None:
    running = flow()
    running.begin()
    running.found("retrieval", [passage("p1")])
    running.ended("entities")
    running.ended("retrieval")
    running.ended("graph")

    inputs, closed = running.replay("synthesis")

    assert [finding.id for finding in inputs] == ["p1"]
    assert closed


def test_only_what_may_pass_is_tried_again_and_only_so_often() -> None:
    running = flow()
    gone = Failure(Reason.SERVICE_UNAVAILABLE, "gone")

    assert running.may_retry("retrieval", gone, 1)
    assert not running.may_retry("retrieval", gone, 3)
    assert not running.may_retry("retrieval", Failure(Reason.INTERNAL, "bug"), 1)


def delta(text: str, offset: int, finding_id: str = "t") -> Finding:
    return Finding(id=finding_id, text_delta=TextDelta(text=text, offset=offset))


def texts(routed: Routed) -> list[tuple[int, str]]:
    return [(finding.text_delta.offset, finding.text_delta.text) for finding in routed.new]


def test_an_author_that_is_run_again_adds_only_what_was_not_told() -> None:
    running = flow()
    running.found("synthesis", [delta("Raft ele", 0, "a"), delta("cts", 8, "b")])

    running.replay("synthesis")
    again = running.found("synthesis", [delta("Raft", 0, "a"), delta(" elects a", 4, "b"), delta(" leader.", 13, "c")])

    assert texts(again) == [(11, " a"), (13, " leader.")]
    assert len({"a", "b", *(finding.id for finding in again.new)}) == 4
    assert running.shortfall("synthesis") is None


def test_an_author_that_words_its_text_differently_when_run_again_adds_nothing() -> None:
    running = flow()
    running.found("synthesis", [delta("Raft elects", 0)])

    running.replay("synthesis")
    with pytest.raises(Failure, match="worded its text differently"):
        running.found("synthesis", [delta("Raft chooses a leader.", 0)])


def test_an_author_that_is_run_again_may_go_on_behind_what_was_told() -> None:
    running = flow()
    running.found("synthesis", [delta("Raft elects", 0)])

    running.replay("synthesis")
    told = running.told("synthesis")
    again = running.found("synthesis", [delta(" a leader.", len(told), "b")])

    assert told == "Raft elects"
    assert texts(again) == [(11, " a leader.")]
    assert running.shortfall("synthesis") is None


def test_an_author_that_has_nothing_to_add_leaves_what_was_told() -> None:
    running = flow()
    running.found("synthesis", [delta("Raft elects a leader.", 0)])

    running.replay("synthesis")

    assert running.shortfall("synthesis") is None


def test_a_gap_behind_what_was_told_is_refused() -> None:
    running = flow()
    running.found("synthesis", [delta("Raft elects", 0)])

    running.replay("synthesis")
    with pytest.raises(Failure, match="wrote at offset 12 of an answer of 0 characters"):
        running.found("synthesis", [delta("a leader.", 12)])


def test_an_author_that_ends_before_what_was_told_has_failed() -> None:
    running = flow()
    running.found("synthesis", [delta("Raft elects", 0)])

    running.replay("synthesis")
    running.found("synthesis", [delta("Raft", 0)])

    short = running.shortfall("synthesis")
    assert short is not None
    assert "after 11 characters, and ended after 4" in short.message


def test_an_agent_that_is_not_idempotent_is_not_tried_again() -> None:
    once = card("once", produces="NOTE")
    once.idempotent = False
    running = Flow(wire(Plan("p", (Step("once"),)), {"once": once}))

    assert not running.may_retry("once", Failure(Reason.SERVICE_UNAVAILABLE, "gone"), 1)
    once.resumable = True
    assert running.may_retry("once", Failure(Reason.SERVICE_UNAVAILABLE, "gone"), 1)


def test_an_agent_that_ended_is_given_nothing_more() -> None:
    running = flow()
    running.ended("citation")

    assert "citation" not in running.found("retrieval", [passage("p1")]).deliveries


@given(st.permutations(["entities", "retrieval", "graph", "synthesis", "citation", "factcheck"]))
def test_in_whatever_order_agents_end_each_is_half_closed_once_or_has_ended(order: list[str]) -> None:
    running = flow()
    closed = list(running.begin())
    ended: set[str] = set()
    for agent in order:
        closed += running.ended(agent)
        ended.add(agent)
        for name in set(CARDS) - ended:
            fed_by = wire(DEFAULT, CARDS).producers[name]
            assert (name in closed) == (fed_by <= ended)

    assert len(closed) == len(set(closed))
    assert running.running() == []


@given(st.lists(st.integers(0, 5), max_size=20))
def test_whatever_is_told_twice_each_consumer_gets_each_finding_once_in_order(ids: list[int]) -> None:
    running = flow()
    got: list[str] = []
    for number in ids:
        routed = running.found("synthesis", [Finding(id=str(number), sentence=Sentence(index=number))])
        got += [finding.id for finding in routed.deliveries.get("citation", ())]

    assert got == list(dict.fromkeys(str(number) for number in ids))


@given(st.text("abc", min_size=1, max_size=20), st.data())
def test_however_two_runs_cut_the_same_text_readers_get_it_once(whole: str, data: st.DataObject) -> None:
    running = flow()
    got: list[str] = []
    for run in range(2):
        running.replay("synthesis")
        end = len(whole) if run else data.draw(st.integers(0, len(whole)))
        offset = 0
        while offset < end:
            size = data.draw(st.integers(1, end - offset))
            got += [
                text for _, text in texts(running.found("synthesis", [delta(whole[offset : offset + size], offset)]))
            ]
            offset += size

    assert "".join(got) == whole
    assert running.shortfall("synthesis") is None
