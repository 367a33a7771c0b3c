"""The flow of one query: which finding goes where, what half-closes, and what a failure means. No I/O.

    begin()              -> agents to half-close at once: nobody feeds them
    found(agent, …)      -> the findings that are new, and whom they go to
    ended(agent, …)      -> agents to half-close now: the last of their producers ended
    replay(agent)        -> what an agent was given so far, for another run of it
    recall(…)            -> nothing: takes in what a journal holds, as if it happened now
    fatal()              -> the failure after which the query cannot be answered

A finding is known by its agent and id; told twice (by a second run of the agent), it is dropped the second time. Text
is known by its place instead: see retelling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.answering.plan import Step, Wiring
from answermesh.orchestrator.answering.retelling import Retelling
from answermesh.v1.finding_pb2 import Finding
from answermesh.v1.mesh_pb2 import AgentCard

# A query's findings live in memory until it ends; an agent that tells more than this is stopped.
MAX_FINDINGS = 20_000

KIND_OF_MEMBER: Mapping[str, int] = {
    field.name: Finding.Kind.Value(f"KIND_{field.name.upper()}")
    for field in Finding.DESCRIPTOR.oneofs_by_name["value"].fields
}


def kind_of(finding: Finding) -> int:
    """The kind of a finding; KIND_UNSPECIFIED if it holds nothing."""
    return KIND_OF_MEMBER.get(finding.WhichOneof("value") or "", Finding.KIND_UNSPECIFIED)


def may_run_again(card: AgentCard) -> bool:
    """Whether an agent whose run broke off may be run once more."""
    return card.idempotent or card.resumable


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
    text: Retelling = field(default_factory=Retelling)
    closed: bool = False
    end: AgentEnd | None = None


class Flow:
    """The state of one query's flow."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._agents = {s.agent: _Agent(s, set(wiring.producers[s.agent])) for s in wiring.steps}
        self._count = 0
        # Ends of agents that another orchestrator knew and this one does not.
        self._strangers: list[AgentEnd] = []

    def begin(self) -> list[str]:
        """Agents to half-close at once, since nobody feeds them."""
        return self._close_fed()

    def found(self, agent: str, findings: Iterable[Finding]) -> Routed:
        """Take in what an agent found, and say whom it goes to.

        Raises Failure(INVALID_CARD) for a kind that its card does not declare or a finding without a proper id, and
        Failure(TOO_LARGE) beyond MAX_FINDINGS; none of the findings given counts then.
        """
        state = self._agents[agent]
        findings = tuple(findings)
        for finding in findings:
            self._check(agent, finding)
        new: dict[str, Finding] = {}
        for finding in findings:
            if (fresh := _fresh(state, finding, new)) is not None:
                new[fresh.id] = fresh
        if self._count + len(new) > MAX_FINDINGS:
            raise Failure(Reason.TOO_LARGE, f"Agent {agent!r} went beyond {MAX_FINDINGS} findings of one query.")
        self._count += len(new)
        state.told.update(new)
        deliveries: dict[str, list[Finding]] = {}
        for finding in new.values():
            finding.agent = agent
            for consumer in self._route(finding):
                deliveries.setdefault(consumer, []).append(finding)
        return Routed(list(new.values()), deliveries)

    def recall(self, finding: Finding) -> None:
        """Take in a finding that the journal holds."""
        self._count += 1
        if (state := self._agents.get(finding.agent)) is not None:
            state.told.add(finding.id)
            if finding.HasField("text_delta"):
                state.text.recall(finding.text_delta)
        self._route(finding)

    def _route(self, finding: Finding) -> list[str]:
        """Give a finding to all that consume its kind and have not ended; returns them."""
        given = []
        for consumer in self._wiring.consumers.get(kind_of(finding), ()):
            if consumer != finding.agent and (other := self._agents[consumer]).end is None:
                other.inputs.append(finding)
                given.append(consumer)
        return given

    def ended(self, agent: str, failure: Failure | None = None) -> list[str]:
        """Note that an agent is over, for good; returns the agents to half-close now."""
        if (state := self._agents.get(agent)) is None:
            self._strangers.append(AgentEnd(Step(agent), failure))
            return []
        state.end = AgentEnd(state.step, failure)
        state.inputs.clear()
        for other in self._agents.values():
            other.waiting_for.discard(agent)
        return self._close_fed()

    def replay(self, agent: str) -> tuple[list[Finding], bool]:
        """What an agent was given so far, and whether that was all; another run of it begins, and gets that."""
        state = self._agents[agent]
        state.text.begin()
        return list(state.inputs), state.closed

    def may_retry(self, agent: str, failure: Failure, attempt: int) -> bool:
        """Whether the agent is tried again after its `attempt`-th try failed so.

        Only after what may pass, and only an agent that may be run again.
        """
        state = self._agents[agent]
        return (
            failure.reason is Reason.SERVICE_UNAVAILABLE
            and attempt < state.step.max_attempts
            and may_run_again(self._wiring.cards[agent])
        )

    def told(self, agent: str) -> str:
        """The text that earlier runs of the agent told."""
        return self._agents[agent].text.known

    def shortfall(self, agent: str) -> Failure | None:
        """Why a run that ended well is a failure all the same: it told less text than readers have seen."""
        return self._agents[agent].text.shortfall(agent)

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
        ends = [*(agent.end for agent in self._agents.values()), *self._strangers]
        return [end for end in ends if end is not None and end.failure is not None] + unknown

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


def _fresh(state: _Agent, finding: Finding, new: Mapping[str, Finding]) -> Finding | None:
    """What of a finding was not told before."""
    known = finding.id in state.told or finding.id in new
    if not finding.HasField("text_delta"):
        return None if known else finding
    delta = state.text.add(state.step.agent, finding.text_delta)
    if delta is None:
        return None
    if known or delta.offset != finding.text_delta.offset:
        # A run that cuts its text otherwise than the one before may give this part an id that is taken.
        return Finding(id=f"delta-at-{delta.offset}", text_delta=delta)
    return finding
