"""How a query ends: the record that its last event carries, made of what was found and what failed. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.answering.answer import AnswerBuilder, add_usage, final_state
from answermesh.orchestrator.answering.flow import AgentEnd
from answermesh.orchestrator.answering.plan import Step
from answermesh.rpc.status import failure_from_status, status_from
from answermesh.v1.query_pb2 import AgentFailure, Query, QueryEvent, Usage, UsageRecord


class Tally:
    """What a query has come to: its answer, its usage, and the agents that failed."""

    def __init__(self) -> None:
        self.answer = AnswerBuilder()
        self.usage = Usage()
        self.failures: list[AgentEnd] = []
        self._calls: set[tuple[str, str]] = set()

    def count(self, record: UsageRecord) -> bool:
        """Add a call of a model; False if it was counted before."""
        if (key := (record.agent, record.id)) in self._calls:
            return False
        self._calls.add(key)
        add_usage(self.usage, record)
        return True

    def replay(self, events: Iterable[QueryEvent]) -> None:
        """Take in what the journal holds of a query."""
        for event in events:
            match event.WhichOneof("event"):
                case "finding":
                    self.answer.add(event.finding)
                case "usage":
                    self.count(event.usage)
                case "agent_ended" if event.agent_ended.HasField("error"):
                    failure = failure_from_status(event.agent_ended.error)
                    self.failures.append(AgentEnd(Step(event.agent_ended.agent), failure))

    def end(self, record: Query, *, stopped: Failure | None) -> QueryEvent:
        """The last event of the query; `stopped` is why it was ended before its agents were done."""
        # An agent that was stopped because of another's failure, or by the caller, did nothing wrong.
        failures = [end for end in self.failures if end.failure and end.failure.reason is not Reason.CANCELLED]
        answer = self.answer.build()
        final = Query()
        final.CopyFrom(record)
        final.state = final_state(answer, failures, stopped=stopped)
        final.end_time.GetCurrentTime()
        final.usage.CopyFrom(self.usage)
        if answer is not None:
            final.answer.CopyFrom(answer)
        final.failures.extend(_failure(end) for end in failures)
        if final.state == Query.STATE_FAILED:
            _explain(final, failures, stopped)
        return QueryEvent(query_ended=final)


def _failure(end: AgentEnd) -> AgentFailure:
    assert end.failure is not None
    return AgentFailure(agent=end.step.agent, required=end.step.required, error=status_from(end.failure))


def _explain(final: Query, failures: Sequence[AgentEnd], stopped: Failure | None) -> None:
    """Set the error of a query that has no answer."""
    if stopped is not None:
        final.error.CopyFrom(status_from(stopped))
        return
    for end in sorted(failures, key=lambda end: not end.step.required):
        assert end.failure is not None
        message = f"Agent {end.step.agent!r} failed: {end.failure.message}"
        final.error.CopyFrom(status_from(Failure(Reason.AGENT_FAILED, message)))
        final.error.code = end.failure.reason.code.value[0]
        return
    nothing = "No agent of the plan wrote an answer; the plan needs one that produces TEXT_DELTA."
    final.error.CopyFrom(status_from(Failure(Reason.INVALID_PLAN, nothing)))
