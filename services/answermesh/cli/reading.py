"""An answer as a reader sees it while it grows: a pure fold of events into text, sentences, sources."""

from __future__ import annotations

from dataclasses import dataclass, field

from answermesh.client.members import chosen, is_set
from answermesh.typed.answermesh import v1


@dataclass(slots=True)
class Line:
    """A sentence of the answer: where it stands in the text, the numbers of its sources, its verdict."""

    start: int
    end: int
    citations: list[v1.Citation] = field(default_factory=list)
    verdict: v1.Verdict | None = None


@dataclass(slots=True)
class Reading:
    """What is known of an answer so far. `add` takes each event; at the last the query's own answer replaces it."""

    text: str = ""
    sentences: dict[int, Line] = field(default_factory=dict)
    notes: list[v1.Note] = field(default_factory=list)
    conclusion: v1.Conclusion | None = None
    query_name: str = ""
    # Set by the last event.
    query: v1.Query | None = None

    def add(self, event: v1.QueryEvent) -> None:
        """Take in an event."""
        self.query_name = event.query or self.query_name
        kind, value = chosen(event, "event")
        if kind == "finding":
            self._add_finding(value)
        elif kind == "query_ended":
            self.end(value)

    def end(self, query: v1.Query) -> None:
        """Show a final query: its answer, if it has one, is exactly what is shown."""
        self.query, self.query_name = query, query.name or self.query_name
        if not query.answer.text:
            return
        answer = query.answer
        self.text = answer.text
        self.conclusion = v1.Conclusion(
            answer.mode, answer.answered, answer.confidence, answer.model, answer.short_answer
        )
        self.sentences = {
            sentence.index: Line(
                sentence.span.start,
                sentence.span.end,
                list(sentence.citations),
                sentence.verdict if is_set(sentence.verdict) else None,
            )
            for sentence in answer.sentences
        }

    def sources(self) -> list[v1.Citation]:
        """The cited spans, each once, in the order in which the text cites them; [1] is the first."""
        found: dict[tuple[str, int, int], v1.Citation] = {}
        for index in sorted(self.sentences):
            for citation in self.sentences[index].citations:
                found.setdefault(_place(citation), citation)
        return list(found.values())

    def pieces(self) -> list[tuple[str, Line | None]]:
        """The text cut at the ends of sentences: each piece with the sentence that ends with it, None for the rest."""
        pieces: list[tuple[str, Line | None]] = []
        position = 0
        for line in sorted(self.sentences.values(), key=lambda line: line.end):
            # A sentence may be told before its last characters, by another route.
            if position < line.end <= len(self.text):
                pieces.append((self.text[position : line.end], line))
                position = line.end
        if position < len(self.text):
            pieces.append((self.text[position:], None))
        return pieces

    def numbers(self, line: Line) -> list[int]:
        """The numbers of a sentence's sources."""
        places = [_place(citation) for citation in self.sources()]
        return sorted({places.index(_place(citation)) + 1 for citation in line.citations})

    def _add_finding(self, finding: v1.Finding) -> None:
        kind, value = chosen(finding, "value")
        match kind:
            case "text_delta":
                # The offset makes a delta that comes twice harmless.
                self.text = self.text[: value.offset] + value.text
            case "sentence":
                self._line(value.index, value.span.start, value.span.end)
            case "citation" if value.sentence_index in self.sentences:
                self.sentences[value.sentence_index].citations.append(value)
            case "verdict" if value.sentence_index in self.sentences:
                self.sentences[value.sentence_index].verdict = value
            case "note":
                self.notes.append(value)
            case "conclusion":
                self.conclusion = value

    def _line(self, index: int, start: int, end: int) -> None:
        if index not in self.sentences:
            self.sentences[index] = Line(start, end)


def _place(citation: v1.Citation) -> tuple[str, int, int]:
    return citation.document, citation.span.start, citation.span.end
