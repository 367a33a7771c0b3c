"""Which sort of question is asked, and which plan that leads to."""

from __future__ import annotations

import pytest

from answermesh.errors import Failure
from answermesh.orchestrator.answering.plan import load
from answermesh.orchestrator.routing import Routes, kind_of
from answermesh.v1.query_pb2 import Route


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who built the tower?", Route.KIND_FACTUAL),
        ("In what year was it built?", Route.KIND_FACTUAL),
        ("Explain how a lease works.", Route.KIND_FACTUAL),
        ("What is the difference between a learner and a witness?", Route.KIND_COMPARISON),
        ("Which is older, the tower or the bridge?", Route.KIND_COMPARISON),
        ("Are Christopher Nolan and Sathish Kalathil both film directors?", Route.KIND_COMPARISON),
        ("Where was the director of the film that won in 1994 born?", Route.KIND_MULTI_HOP),
        ("Who is the wife of the author of Emma?", Route.KIND_MULTI_HOP),
        ("Is a learner a voting member?", Route.KIND_VERIFICATION),
        ("Does etcd need a quorum?", Route.KIND_VERIFICATION),
        ("leader election quorum", Route.KIND_SEARCH),
        ("Please summarise the whole document in a few words.", Route.KIND_UNSPECIFIED),
    ],
)
def test_the_wording_tells_the_kind(question: str, kind: Route.Kind) -> None:
    assert Route.Kind.Name(kind_of(question)) == Route.Kind.Name(kind)


def test_keywords_are_answered_without_a_graph_and_the_rest_by_the_default_plan() -> None:
    routes = Routes({}, load({}))
    assert routes.route("leader election", "").plan == "search"
    assert routes.route("Who is it?", "").plan == "default"
    hard = routes.route("Which is older, the tower or the bridge?", "")
    assert (hard.plan, hard.difficulty) == ("default", Route.DIFFICULTY_HARD)


def test_the_caller_and_the_settings_decide_before_the_rules() -> None:
    plans = load({"quick": {"agents": {"retrieval": {}}}})
    routes = Routes({"factual": "quick"}, plans)
    assert routes.route("Who is it?", "").plan == "quick"
    named = routes.route("leader election", "default")
    assert (named.plan, named.overridden) == ("default", True)


def test_nothing_is_routed_past_a_default_plan_of_ones_own() -> None:
    routes = Routes({}, load({"default": {"agents": {"glossary": {}}}}))
    assert routes.route("leader election", "").plan == "default"


@pytest.mark.parametrize("table", [{"riddle": "default"}, {"factual": "nowhere"}, {"factual": 3}])
def test_a_kind_or_a_plan_that_there_is_none_of_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(Failure):
        Routes(table, load({}))
