"""Plans and the flow that follows from cards."""

from __future__ import annotations

import pytest

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.answering.plan import DEFAULT, Plan, Step, load, wire
from answermesh.v1.finding_pb2 import Finding
from answermesh.v1.mesh_pb2 import AgentCard

K = Finding.Kind


def card(agent: str, consumes: str = "", produces: str = "", optional: str = "") -> AgentCard:
    def kinds(names: str) -> list[Finding.Kind.ValueType]:
        return [K.Value(f"KIND_{name}") for name in names.split()]

    wants = [AgentCard.Consumption(kind=kind) for kind in kinds(consumes)]
    wants += [AgentCard.Consumption(kind=kind, optional=True) for kind in kinds(optional)]
    return AgentCard(agent=agent, consumes=wants, produces=kinds(produces), idempotent=True)


CARDS = {
    c.agent: c
    for c in (
        card("entities", produces="ENTITY SUBQUESTION"),
        card("retrieval", optional="SUBQUESTION", produces="PASSAGE"),
        card("graph", "ENTITY", "RELATION PASSAGE"),
        card("synthesis", "PASSAGE", "TEXT_DELTA SENTENCE CONCLUSION", "RELATION"),
        card("citation", "PASSAGE SENTENCE", "CITATION"),
        card("factcheck", "PASSAGE SENTENCE", "VERDICT"),
    )
}


def test_the_default_plan_feeds_each_agent_from_those_who_produce_what_it_consumes() -> None:
    wiring = wire(DEFAULT, CARDS)

    assert wiring.producers == {
        "entities": frozenset(),
        "retrieval": {"entities"},
        "graph": {"entities"},
        "synthesis": {"retrieval", "graph"},
        "citation": {"retrieval", "graph", "synthesis"},
        "factcheck": {"retrieval", "graph", "synthesis"},
    }
    assert set(wiring.consumers[K.KIND_PASSAGE]) == {"synthesis", "citation", "factcheck"}


def test_a_cycle_among_cards_is_refused_and_names_its_agents() -> None:
    cards = {"a": card("a", "ENTITY", "PASSAGE"), "b": card("b", "PASSAGE", "ENTITY")}

    with pytest.raises(Failure) as caught:
        wire(Plan("loop", (Step("a"), Step("b"))), cards)

    assert caught.value.reason is Reason.INVALID_PLAN
    assert "cycle" in caught.value.message
    assert "a -> b" in caught.value.message or "b -> a" in caught.value.message


def test_an_agent_that_consumes_what_it_produces_is_no_cycle() -> None:
    cards = {"a": card("a", produces="PASSAGE"), "b": card("b", "PASSAGE", "PASSAGE")}

    assert wire(Plan("p", (Step("a"), Step("b"))), cards).producers["b"] == {"a"}


def test_a_kind_that_nobody_produces_is_refused_and_names_kind_and_agent() -> None:
    plan = Plan("short", (Step("retrieval"), Step("citation")))

    with pytest.raises(Failure, match="nobody who produces SENTENCE, which citation consumes"):
        wire(plan, CARDS)


def test_an_optional_kind_may_stay_unproduced() -> None:
    wiring = wire(Plan("search", (Step("retrieval"),)), CARDS)

    assert wiring.producers["retrieval"] == frozenset()


def test_two_authors_of_one_answer_are_refused() -> None:
    cards = CARDS | {"poet": card("poet", "PASSAGE", "TEXT_DELTA")}

    with pytest.raises(Failure, match="two producers of TEXT_DELTA, synthesis and poet"):
        wire(DEFAULT, cards, joining=["poet"])


def test_an_unknown_agent_is_missing_and_hides_no_other_fault() -> None:
    cards = {name: c for name, c in CARDS.items() if name != "entities"}
    wiring = wire(DEFAULT, cards)

    assert [step.agent for step in wiring.missing] == ["entities"]
    assert wiring.producers["graph"] == frozenset()


def test_a_joining_agent_takes_part_as_an_optional_one() -> None:
    wiring = wire(DEFAULT, CARDS | {"glossary": card("glossary", "ENTITY", "NOTE")}, joining=["glossary"])

    step = next(step for step in wiring.steps if step.agent == "glossary")
    assert not step.required
    assert "glossary" in wiring.consumers[K.KIND_ENTITY]


def test_plans_are_read_from_settings_beside_the_default_one() -> None:
    plans = load({"quick": {"timeout_s": 10, "agents": {"retrieval": {"timeout_s": 5, "required": True}}}})

    assert plans["quick"] == Plan("quick", (Step("retrieval", 5.0, required=True),), 10.0)
    assert plans["default"] == DEFAULT


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ({"timeout": 10, "agents": {"a": {}}}, "plans.p.timeout"),
        ({"timeout_s": 0, "agents": {"a": {}}}, "plans.p.timeout_s"),
        ({"agents": {}}, "plans.p.agents"),
        ({"agents": {"a": {"timeout_s": "soon"}}}, "plans.p.agents.a.timeout_s"),
        ({"agents": {"a": {"max_attempts": 0}}}, "plans.p.agents.a.max_attempts"),
    ],
)
def test_a_bad_plan_table_is_refused_with_its_key(table: dict[str, object], path: str) -> None:
    with pytest.raises(Failure) as caught:
        load({"p": table})

    assert [field.path for field in caught.value.fields] == [path]
