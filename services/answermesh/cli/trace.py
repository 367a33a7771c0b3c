"""Who did what when: one line for each event of a query."""

from __future__ import annotations

from datetime import datetime

from answermesh.cli.answer_view import seconds, verdict_mark
from answermesh.cli.printable import one_line
from answermesh.client import failure_of
from answermesh.client.members import Message, chosen, is_set, name_of
from answermesh.typed.answermesh import v1

_TEXT_CHARS = 90


class Trace:
    """Turns events into lines that begin with the time since the first one."""

    def __init__(self) -> None:
        self._start: datetime | None = None

    def line(self, event: v1.QueryEvent) -> str:
        """The line of an event, e.g. "  0.213 s  retrieval    PASSAGE  [Raft] A leader …"."""
        self._start = self._start or event.event_time
        passed_s = (event.event_time - self._start).total_seconds()
        who, what = _told(event)
        return f"{passed_s:7.3f} s  {one_line(who):<12} {what}"


def _told(event: v1.QueryEvent) -> tuple[str, str]:
    kind, value = chosen(event, "event")
    match kind:
        case "state_changed":
            return "query", name_of(value.state, v1.QueryState, "STATE_")
        case "agent_started":
            return value.agent, "started" + (f", try {value.attempt}" if value.attempt > 1 else "")
        case "agent_ended":
            took = f"after {seconds(value.duration)}, {value.finding_count} findings"
            if not is_set(value.error):
                return value.agent, f"ended well {took}"
            failure = failure_of(value.error)
            return value.agent, f"FAILED {took}: {failure.reason.name}: {one_line(failure.message)}"
        case "finding":
            return value.agent, _finding(value)
        case "usage":
            cached = ", from the cache" if value.cached else ""
            tokens = f"{value.input_tokens} + {value.output_tokens} tokens"
            return value.agent, f"called {one_line(value.model)}: {tokens} in {seconds(value.duration)}{cached}"
        case "routed":
            plan = f"by plan {one_line(value.plan)}" + (", as asked" if value.overridden else "")
            return "query", f"{name_of(value.kind, v1.RouteKind, 'KIND_')}, {plan}: {one_line(value.question)}"
        case "query_ended":
            return "query", f"ended {name_of(value.state, v1.QueryState, 'STATE_')}"
    return "query", kind


def _finding(finding: v1.Finding) -> str:
    kind, value = chosen(finding, "value")
    return f"{kind.upper():<11} {one_line(_gist(kind, value), _TEXT_CHARS)}"


def _gist(kind: str, value: Message) -> str:
    match value:
        case v1.Entity():
            return value.display_name
        case v1.Passage():
            return f"[{value.document_title}] {value.text}"
        case v1.Relation():
            return f"{value.subject.display_name} – {value.predicate or '…'} – {value.object.display_name}"
        case v1.Citation():
            return f"sentence {value.sentence_index}: {value.uri}:{value.span.start}-{value.span.end}"
        case v1.Verdict():
            return f"sentence {value.sentence_index}: {verdict_mark(value)[0]} {value.rationale}"
        case v1.Conclusion():
            return (
                f"{name_of(value.mode, v1.ConclusionMode, 'MODE_')}, {'answered' if value.answered else 'not answered'}"
            )
        case v1.Sentence():
            return f"{value.index}: {value.text}"
        case v1.TextDelta() | v1.Subquestion():
            return value.text
        case v1.Note():
            return f"{value.label}: {value.text}"
    return kind
