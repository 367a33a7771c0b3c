"""Plans: which agents answer a question, how long each may take, and which of them an answer cannot do without.

A plan is data. What flows between its agents follows from their cards: `wire` joins producers to consumers, and refuses
a plan whose findings could never arrive.

    [plans.quick]
    timeout_s = 10                 # for the query; default 30
    join = false                   # whether registered agents take part unnamed; default true
    [plans.quick.agents.retrieval]
    timeout_s = 5                  # for the agent; default 15
    required = true                # default false
    max_attempts = 1               # tries in all, if the agent is idempotent; default 3
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from answermesh.errors import Failure, Reason, invalid_field
from answermesh.v1.finding_pb2 import Finding
from answermesh.v1.mesh_pb2 import AgentCard

# Kinds that make up the one text of an answer: two agents telling them would mix two answers.
AUTHORED = (Finding.KIND_TEXT_DELTA, Finding.KIND_SENTENCE, Finding.KIND_CONCLUSION)


@dataclass(frozen=True, slots=True)
class Step:
    """One agent's part in a plan."""

    agent: str
    timeout_s: float = 15.0
    required: bool = False
    # Tries in all; only an idempotent agent is tried more than once.
    max_attempts: int = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """The agents that answer a question together."""

    name: str
    steps: tuple[Step, ...]
    timeout_s: float = 30.0
    # Whether registered agents that the plan does not name take part, as optional ones.
    join: bool = True


@dataclass(frozen=True, slots=True)
class Wiring:
    """A plan with the flow that follows from the cards of its agents."""

    plan: Plan
    steps: tuple[Step, ...]
    cards: Mapping[str, AgentCard]
    # Agents that feed each agent.
    producers: Mapping[str, frozenset[str]]
    # Agents that each kind of finding goes to.
    consumers: Mapping[int, tuple[str, ...]]
    # Steps whose agent is not known.
    missing: tuple[Step, ...] = ()


DEFAULT = Plan(
    "default",
    (
        Step("entities", timeout_s=10),
        Step("retrieval", timeout_s=15, required=True),
        Step("graph", timeout_s=15),
        Step("synthesis", timeout_s=30, required=True),
        Step("citation", timeout_s=15),
        Step("factcheck", timeout_s=20),
    ),
)


SEARCH = Plan(
    "search",
    tuple(step for step in DEFAULT.steps if step.agent not in ("entities", "graph")),
)


def load(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Plan]:
    """The plans of the settings beside our own two, which tables of their names replace.

    Raises Failure(INVALID_FIELD) naming the key, for an unknown key or a value out of range.
    """
    plans = {plan.name: plan for plan in (DEFAULT, SEARCH)}
    for name, table in tables.items():
        path = f"plans.{name}"
        _only(path, table, {"timeout_s", "join", "agents"})
        steps = tuple(_step(f"{path}.agents.{agent}", agent, t) for agent, t in table.get("agents", {}).items())
        if not steps:
            raise invalid_field(f"{path}.agents", "names no agent; a plan needs at least one.")
        timeout_s = _seconds(f"{path}.timeout_s", table.get("timeout_s", 30.0))
        plans[name] = Plan(name, steps, timeout_s, bool(table.get("join", True)))
    return plans


def wire(plan: Plan, cards: Mapping[str, AgentCard], joining: Iterable[str] = ()) -> Wiring:
    """Join producers to consumers.

    `cards` holds the cards of the agents known; `joining` names those that take part without being named.

    Raises Failure(INVALID_PLAN) for two authors, a cycle, or a kind that is consumed but never produced.
    """
    named = {step.agent for step in plan.steps}
    steps = plan.steps + tuple(Step(agent) for agent in sorted(joining) if agent not in named)
    present = tuple(step for step in steps if step.agent in cards)
    missing = tuple(step for step in steps if step.agent not in cards)
    mine = {step.agent: cards[step.agent] for step in present}
    produced: dict[int, list[str]] = {}
    for agent, card in mine.items():
        for kind in card.produces:
            produced.setdefault(kind, []).append(agent)
    for kind in AUTHORED:
        if len(produced.get(kind, ())) > 1:
            both = " and ".join(produced[kind])
            raise _invalid(
                plan, f"has two producers of {_kind(kind)}, {both}; an answer has one author, leave one out."
            )
    producers: dict[str, frozenset[str]] = {}
    consumers: dict[int, tuple[str, ...]] = {}
    for agent, card in mine.items():
        feeding: set[str] = set()
        for consumption in card.consumes:
            feeders = [other for other in produced.get(consumption.kind, ()) if other != agent]
            # An unknown agent may be the one that produces it.
            if not feeders and not consumption.optional and not missing:
                raise _invalid(
                    plan,
                    f"has nobody who produces {_kind(consumption.kind)}, which {agent} consumes; "
                    "add an agent that does, or mark it optional on the card.",
                )
            feeding.update(feeders)
            consumers[consumption.kind] = (*consumers.get(consumption.kind, ()), agent)
        producers[agent] = frozenset(feeding)
    if cycle := _cycle(producers):
        path = " -> ".join(reversed(cycle))
        raise _invalid(plan, f"has a cycle, {path}; leave one of them out, or change what its card consumes.")
    return Wiring(plan, present, mine, producers, consumers, missing)


def _cycle(producers: Mapping[str, frozenset[str]]) -> list[str]:
    """A cycle, its first agent again at its end; empty if there is none. Depth first, each agent once."""
    done: set[str] = set()
    path: list[str] = []

    def visit(agent: str) -> list[str]:
        if agent in path:
            return [*path[path.index(agent) :], agent]
        if agent in done:
            return []
        path.append(agent)
        for feeder in sorted(producers.get(agent, ())):
            if found := visit(feeder):
                return found
        done.add(path.pop())
        return []

    for agent in sorted(producers):
        if found := visit(agent):
            return found
    return []


def _step(path: str, agent: str, table: Mapping[str, Any]) -> Step:
    _only(path, table, {"timeout_s", "required", "max_attempts"})
    attempts = table.get("max_attempts", 3)
    if not isinstance(attempts, int) or not 1 <= attempts <= 10:
        raise invalid_field(f"{path}.max_attempts", f"is {attempts!r}; must be a whole number, 1 to 10.")
    timeout_s = _seconds(f"{path}.timeout_s", table.get("timeout_s", 15.0))
    return Step(agent, timeout_s, bool(table.get("required", False)), attempts)


def _seconds(path: str, value: object) -> float:
    if not isinstance(value, int | float) or not 0.1 <= value <= 600:
        raise invalid_field(path, f"is {value!r}; must be seconds, 0.1 to 600.")
    return float(value)


def _only(path: str, table: Mapping[str, Any], known: set[str]) -> None:
    for key in table:
        if key not in known:
            raise invalid_field(f"{path}.{key}", f"is no key of a plan; known are {', '.join(sorted(known))}.")


def _kind(kind: int) -> str:
    return Finding.Kind.Name(kind).removeprefix("KIND_")  # type: ignore[arg-type]  # an open enum on the wire


def _invalid(plan: Plan, what: str) -> Failure:
    return Failure(Reason.INVALID_PLAN, f"Plan {plan.name!r} {what}")
