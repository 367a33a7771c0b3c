"""The answer: what the findings of a query add up to. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.answering.flow import AgentEnd
from answermesh.v1.finding_pb2 import Citation, Conclusion, Finding, Sentence, Verdict
from answermesh.v1.query_pb2 import Answer, AnswerSentence, Query, Usage, UsageRecord


class AnswerBuilder:
    """Takes findings in the order they were journaled, and gives the answer they make so far."""

    def __init__(self) -> None:
        self._deltas: list[str] = []
        self._length = 0
        self._sentences: dict[int, Sentence] = {}
        self._citations: dict[int, list[Citation]] = {}
        self._verdicts: dict[int, Verdict] = {}
        self._conclusion: Conclusion | None = None

    @property
    def has_text(self) -> bool:
        """Whether there is a character of an answer."""
        return self._length > 0

    def add(self, finding: Finding) -> None:
        """Take in a finding.

        Raises Failure(INVALID_CARD) for text that does not follow on the text before it.
        """
        match finding.WhichOneof("value"):
            case "text_delta":
                if finding.text_delta.offset != self._length:
                    raise Failure(
                        Reason.INVALID_CARD,
                        f"Agent {finding.agent!r} wrote at offset {finding.text_delta.offset} of an answer of "
                        f"{self._length} characters; a delta's offset is the length of all earlier deltas.",
                    )
                self._deltas.append(finding.text_delta.text)
                self._length += len(finding.text_delta.text)
            case "sentence":
                self._sentences[finding.sentence.index] = finding.sentence
            case "citation":
                self._citations.setdefault(finding.citation.sentence_index, []).append(finding.citation)
            case "verdict":
                self._verdicts[finding.verdict.sentence_index] = finding.verdict
            case "conclusion":
                self._conclusion = finding.conclusion

    def build(self) -> Answer | None:
        """The answer; None while there is no text."""
        if not self.has_text:
            return None
        sentences = [self._sentence(index) for index in sorted(self._sentences)]
        conclusion = self._conclusion or Conclusion(answered=bool(sentences))
        return Answer(
            text="".join(self._deltas),
            sentences=sentences,
            mode=conclusion.mode,
            answered=conclusion.answered,
            confidence=conclusion.confidence * _supported_share(sentences),
            model=conclusion.model,
            short_answer=conclusion.short_answer if conclusion.HasField("short_answer") else None,
        )

    def _sentence(self, index: int) -> AnswerSentence:
        sentence = self._sentences[index]
        citations = sorted(self._citations.get(index, ()), key=lambda citation: -citation.confidence)
        return AnswerSentence(
            index=index,
            text=sentence.text,
            span=sentence.span,
            citations=citations,
            verdict=self._verdicts.get(index),
        )


def final_state(
    answer: Answer | None, failures: Sequence[AgentEnd], *, stopped: Failure | None
) -> Query.State.ValueType:
    """The state that a query ends in; `stopped` is why it was ended before its agents were done.

    A text that readers have seen is never taken back: after a failure or at the deadline it is PARTIAL.
    """
    if stopped is not None and stopped.reason is Reason.CANCELLED:
        return Query.STATE_CANCELLED
    if answer is None:
        return Query.STATE_FAILED
    return Query.STATE_PARTIAL if failures or stopped else Query.STATE_SUCCEEDED


def add_usage(total: Usage, record: UsageRecord) -> None:
    """Add one call of a model to a sum; a call answered from the cache costs nothing."""
    total.model_calls += 1
    total.input_tokens += record.input_tokens
    total.output_tokens += record.output_tokens
    total.cost_micros += record.cost_micros


def _supported_share(sentences: Sequence[AnswerSentence]) -> float:
    """Share of sentences found SUPPORTED; 1 for a text without sentences, which claims nothing."""
    if not sentences:
        return 1.0
    supported = sum(sentence.verdict.value == Verdict.VALUE_SUPPORTED for sentence in sentences)
    return supported / len(sentences)
