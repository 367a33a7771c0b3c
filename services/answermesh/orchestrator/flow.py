"""The flow of one query: which finding goes where, what half-closes, and what a failure means. No I/O.

    begin()              -> agents to half-close at once: nobody feeds them
    found(agent, …)      -> the findings that are new, and whom they go to
    ended(agent, …)      -> agents to half-close now: the last of their producers ended
    replay(agent)        -> what an agent was given so far, for another try
    fatal()              -> the failure after which the query cannot be answered

A finding is known by its agent and id; told twice (by a second try of the agent), it is dropped the second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.plan import Step, Wiring
from answermesh.v1.finding_pb2 import Finding

# A query's findings live in memory until it ends; an agent that tells more than this is stopped.
MAX_FINDINGS = 20_000

KIND_OF_MEMBER: Mapping[str, int] = {
    field.name: Finding.Kind.Value(f"KIND_{field.name.upper()}")
    for field in Finding.DESCRIPTOR.oneofs_by_name["value"].fields
}


def kind_of(finding: Finding) -> int:
    """The kind of a finding; KIND_UNSPECIFIED if it holds nothing."""
    return KIND_OF_MEMBER.get(finding.WhichOneof("value") or "", Finding.KIND_UNSPECIFIED)


@dataclass(frozen=True, slots=True)
class Routed:
    """What follows from findings."""

    new: Sequence[Finding]
    deliveries: Mapping[str, Sequence[Finding]]


@dataclass(frozen=True, slots=True)
class AgentEnd:
    """How an agent of the query ended."""

    step: Step
    failure: Failure | None


@dataclass(slots=True)
class _Agent:
    step: Step
    waiting_for: set[str]
    inputs: list[Finding] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    closed: bool = False
    end: AgentEnd | None = None


class Flow:
    """The state of one query's flow."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._agents = {s.agent: _Agent(s, set(wiring.producers[s.agent])) for s in wiring.steps}
        self._count = 0
        self._text_from: set[str] = set()

    def begin(self) -> list[str]:
        """Agents to half-close at once, since nobody feeds them."""
        return self._close_fed()

    def found(self, agent: str, findings: Iterable[Finding]) -> Routed:
        """Take in what an agent found, and say whom it goes to.

        Raises Failure(INVALID_CARD) for a kind that its card does not declare or a finding without a proper id, and
        Failure(TOO_LARGE) beyond MAX_FINDINGS; none of the findings given counts then.
        """
        state = self._agents[agent]
        new: dict[str, Finding] = {}
        for finding in findings:
            self._check(agent, finding)
            if finding.id not in state.told:
                new.setdefault(finding.id, finding)
        if self._count + len(new) > MAX_FINDINGS:
            raise Failure(Reason.TOO_LARGE, f"Agent {agent!r} went beyond {MAX_FINDINGS} findings of one query.")
        self._count += len(new)
        state.told.update(new)
        deliveries: dict[str, list[Finding]] = {}
        for finding in new.values():
            finding.agent = agent
            kind = kind_of(finding)
            if kind == Finding.KIND_TEXT_DELTA:
                self._text_from.add(agent)
            for consumer in self._wiring.consumers.get(kind, ()):
                if consumer != agent and (other := self._agents[consumer]).end is None:
                    other.inputs.append(finding)
                    deliveries.setdefault(consumer, []).append(finding)
        return Routed(list(new.values()), deliveries)

    def ended(self, agent: str, failure: Failure | None = None) -> list[str]:
        """Note that an agent is over, for good; returns the agents to half-close now."""
        state = self._agents[agent]
        state.end = AgentEnd(state.step, failure)
        state.inputs.clear()
        for other in self._agents.values():
            other.waiting_for.discard(agent)
        return self._close_fed()

    def replay(self, agent: str) -> tuple[list[Finding], bool]:
        """What an agent was given so far, and whether that was all."""
        state = self._agents[agent]
        return list(state.inputs), state.closed

    def may_retry(self, agent: str, failure: Failure, attempt: int) -> bool:
        """Whether the agent is tried again after its `attempt`-th try failed so.

        Only what may pass on another try, only an idempotent agent, and never one whose text readers have seen: a
        second try may word it differently, and two answers' texts must not mix.
        """
        state = self._agents[agent]
        return (
            failure.reason is Reason.SERVICE_UNAVAILABLE
            and attempt < state.step.max_attempts
            and self._wiring.cards[agent].idempotent
            and agent not in self._text_from
        )

    def count(self, agent: str) -> int:
        """New findings that the agent has produced."""
        return len(self._agents[agent].told)

    def running(self) -> list[Step]:
        """Steps whose agent has not ended."""
        return [agent.step for agent in self._agents.values() if agent.end is None]

    def failures(self) -> list[AgentEnd]:
        """Agents that did not end well, those unknown to the mesh among them, in the plan's order."""
        unknown = [
            AgentEnd(step, Failure(Reason.SERVICE_UNAVAILABLE, f"Agent {step.agent!r} is not part of the mesh."))
            for step in self._wiring.missing
        ]
        return [a.end for a in self._agents.values() if a.end is not None and a.end.failure is not None] + unknown

    def fatal(self) -> AgentEnd | None:
        """The first failure of a required agent: the query cannot be answered in full any more."""
        return next((end for end in self.failures() if end.step.required), None)

    def _check(self, agent: str, finding: Finding) -> None:
        if kind_of(finding) not in self._wiring.cards[agent].produces:
            told = finding.WhichOneof("value") or "nothing"
            raise Failure(Reason.INVALID_CARD, f"Agent {agent!r} produced {told}, which its card does not declare.")
        if not 1 <= len(finding.id) <= 64:
            raise Failure(Reason.INVALID_CARD, f"Agent {agent!r} produced a finding whose id is not 1-64 characters.")

    def _close_fed(self) -> list[str]:
        ready = [n for n, a in self._agents.items() if not a.waiting_for and not a.closed and a.end is None]
        for name in ready:
            self._agents[name].closed = True
        return ready
