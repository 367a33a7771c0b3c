"""Where a query has come to: what its findings add up to, and which of its agents are still to run. No I/O.

Rebuilt from the journal, it is what the orchestrator that wrote it had: agents that ended are over, and what they found
was handed on; the others are to be run anew, with all that they were given, and what they tell again is dropped. One
that was begun and may not be run twice has failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.answering.ending import Tally
from answermesh.orchestrator.answering.flow import Flow, may_run_again
from answermesh.orchestrator.answering.plan import Step, Wiring
from answermesh.rpc.status import failure_from_status
from answermesh.v1.query_pb2 import Query, QueryEvent


class Course:
    """The course of one query so far; without `events`, it has not begun."""

    def __init__(self, wiring: Wiring, events: Sequence[QueryEvent] = ()) -> None:
        self.flow = Flow(wiring)
        self.tally = Tally()
        # Tries of each agent.
        self.attempts: Counter[str] = Counter()
        # Whether readers were told that it runs.
        self.running = False
        self.tally.replay(events)
        over: set[str] = set()
        for event in events:
            match event.WhichOneof("event"):
                case "state_changed":
                    self.running = self.running or event.state_changed.state == Query.STATE_RUNNING
                case "agent_started":
                    self.attempts[event.agent_started.agent] += 1
                case "finding":
                    self.flow.recall(event.finding)
                case "agent_ended":
                    over.add(event.agent_ended.agent)
                    self.flow.ended(event.agent_ended.agent, _failure(event.agent_ended))
        # Agents that ended with their orchestrator, which nobody has written down yet.
        self.cut: list[tuple[Step, Failure]] = []
        for step in wiring.steps:
            if step.agent in self.attempts and step.agent not in over and not may_run_again(wiring.cards[step.agent]):
                broke = f"Agent {step.agent!r} broke off with its orchestrator, and may not be run twice."
                self.cut.append((step, Failure(Reason.AGENT_FAILED, broke)))
        for agent in self.attempts.keys() - over - {step.agent for step in wiring.steps}:
            unknown = f"Agent {agent!r} is not known to the orchestrator that took the query over."
            self.flow.ended(agent, Failure(Reason.SERVICE_UNAVAILABLE, unknown))


def agents_of(events: Iterable[QueryEvent]) -> set[str]:
    """The agents that were started."""
    return {event.agent_started.agent for event in events if event.HasField("agent_started")}


def elapsed_s(events: Iterable[QueryEvent]) -> float:
    """Seconds since the query began to run, by the clocks of those who wrote it down; 0 if it did not."""
    for event in events:
        if event.state_changed.state == Query.STATE_RUNNING:
            return max(0.0, (datetime.now(UTC) - event.event_time.ToDatetime(UTC)).total_seconds())
    return 0.0


def _failure(ended: QueryEvent.AgentEnded) -> Failure | None:
    return failure_from_status(ended.error) if ended.HasField("error") else None
