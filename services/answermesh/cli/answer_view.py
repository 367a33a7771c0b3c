"""An answer on the terminal: text with [n] and a verdict mark after each sentence, then the numbered sources."""

from __future__ import annotations

from datetime import timedelta

from rich.console import Console, Group, RenderableType
from rich.text import Text

from answermesh.cli.printable import one_line, printable
from answermesh.cli.reading import Line, Reading
from answermesh.client import failure_of
from answermesh.client.members import is_set
from answermesh.typed.answermesh import v1

_State = v1.QueryState
_Value = v1.VerdictValue
# Mark and style of each verdict; a sentence that nobody checked gets the last.
_MARKS = {
    _Value.VALUE_SUPPORTED: ("✓", "bold green"),
    _Value.VALUE_REFUTED: ("✗", "bold red"),
    _Value.VALUE_NOT_ENOUGH_EVIDENCE: ("?", "bold yellow"),
}
_UNCHECKED = ("–", "dim")
_PENDING = ("…", "dim")
# A short answer is shown from here on; below, it is more often wrong than right.
_LIKELIER_THAN_NOT = 0.5
_MEANINGS = {
    "✓": "a source states it",
    "✗": "a source states the contrary",
    "?": "the sources do not settle it",
    "–": "not checked",
}
_SNIPPET_CHARS = 240


def text_of(reading: Reading) -> Text:
    """The answer's text with its marks; "…" where citations and verdict are still to come."""
    shown = Text()
    for piece, line in reading.pieces():
        shown.append(printable(piece))
        if line is not None:
            shown.append_text(_marks(reading, line))
    return shown


def tail_of(reading: Reading, console: Console) -> RenderableType:
    """As much of the end of the text as the screen holds, for showing it while it grows."""
    lines = text_of(reading).wrap(console, console.width)
    height = max(console.height - 2, 1)
    return Text("\n").join(list(lines)[-height:])


def whole(reading: Reading) -> RenderableType:
    """The finished answer: text, how it came about, sources, notes, and what went wrong."""
    parts: list[RenderableType] = []
    if reading.text:
        parts += [text_of(reading), Text(), *_how(reading)]
    parts += _sources(reading)
    parts += [Text(f"{one_line(note.label)}: {printable(note.text)}", style="cyan") for note in reading.notes]
    if reading.query is not None:
        parts += _ending(reading.query)
    return Group(*parts)


def verdict_mark(verdict: v1.Verdict | None) -> tuple[str, str]:
    """Mark and style of a verdict."""
    return _UNCHECKED if verdict is None else _MARKS.get(verdict.value, _UNCHECKED)


def _marks(reading: Reading, line: Line) -> Text:
    marks = Text()
    for number in reading.numbers(line):
        marks.append(f" [{number}]" if not marks else f"[{number}]", style="cyan")
    is_pending = line.verdict is None and reading.query is None
    mark, style = _PENDING if is_pending else verdict_mark(line.verdict)
    return marks.append(f" {mark}", style=style)


def _how(reading: Reading) -> list[Text]:
    """How the text came about, said plainly; and what its marks mean."""
    lines = []
    conclusion = reading.conclusion
    if conclusion is not None:
        if not conclusion.answered:
            lines.append(Text("The documents do not answer this.", style="yellow"))
        lines.append(Text(_origin(conclusion), style="dim"))
        if is_set(conclusion.short_answer) and conclusion.short_answer.probability > _LIKELIER_THAN_NOT:
            short = conclusion.short_answer
            lines.append(Text(f"In short: {one_line(short.text)} ({short.probability:.2f})"))
    marks = dict.fromkeys(verdict_mark(line.verdict)[0] for line in reading.sentences.values())
    if marks:
        lines.append(Text("   ".join(f"{mark} {_MEANINGS[mark]}" for mark in marks), style="dim"))
    return lines


def _origin(conclusion: v1.Conclusion) -> str:
    match conclusion.mode:
        case v1.ConclusionMode.MODE_EXTRACTIVE:
            origin = "EXTRACTIVE: composed from source sentences, no language model"
        case v1.ConclusionMode.MODE_GENERATIVE:
            origin = f"Written by {one_line(conclusion.model) or 'a language model'} from the sources"
        case _:
            origin = "How the text came about was not told"
    return f"{origin}; confidence {conclusion.confidence:.2f}."


def _sources(reading: Reading) -> list[Text]:
    lines = []
    for number, source in enumerate(reading.sources(), 1):
        title = one_line(source.document_title) or one_line(source.uri)
        head = Text(f"[{number}] ", style="cyan").append(title, style="bold not dim")
        head.append(f"  {one_line(source.uri)}:{source.span.start}-{source.span.end}", style="dim")
        if source.trust == v1.CitationTrust.TRUST_SUSPECT:
            head.append("  speaks to language models elsewhere: read it with care", style="yellow")
        lines += [head, Text(f"    {one_line(source.text, _SNIPPET_CHARS)}")]
    return [Text("\nSources", style="bold"), *lines] if lines else []


def _ending(query: v1.Query) -> list[Text]:
    lines = []
    match query.state:
        case _State.STATE_FAILED:
            failure = failure_of(query.error)
            lines.append(Text(f"No answer ({failure.reason.name}): {printable(failure.message)}", style="red"))
        case _State.STATE_CANCELLED:
            lines.append(Text("The query was cancelled.", style="yellow"))
        case _State.STATE_PARTIAL:
            lines.append(Text("This answer is PARTIAL: not every part of the mesh could do its work.", style="yellow"))
    for failed in query.failures:
        failure = failure_of(failed.error)
        lines.append(
            Text(f"  {failed.agent} failed ({failure.reason.name}): {one_line(failure.message)}", style="yellow")
        )
    if query.usage.model_calls:
        usage = query.usage
        cost = f", cost {usage.cost_micros / 1e6:g}" if usage.cost_micros else ""
        lines.append(
            Text(
                f"{usage.model_calls} model calls, {usage.input_tokens} + {usage.output_tokens} tokens{cost}",
                style="dim",
            )
        )
    return [Text(), *lines] if lines else []


def seconds(duration: timedelta) -> str:
    """A duration for people: "0.12 s"."""
    return f"{duration.total_seconds():.2f} s"
