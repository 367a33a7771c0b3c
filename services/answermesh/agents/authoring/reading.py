"""What the reader finds in the passages of the best sentences: which of them answers, and the short answer. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from answermesh.agents.authoring.answerable import weights
from answermesh.agents.authoring.extractive import Scored
from answermesh.agents.scoring import Reading, probability
from answermesh.agents.sources import Source
from answermesh.v1.finding_pb2 import Passage, ShortAnswer, Span

# Passages that are read for a question: each costs what four to six sentences do.
PASSAGES = 3
# What the logit of a reading adds to that of the sentence that holds the piece, and the most that counts of it.
LIFT = 1.0
MOST = 12.0
# A short answer is told from this probability on; lower, silence scores better on SQuAD 2 (bench.calibrate_reading).
MIN_SHORT = 0.4

# What was read of a passage, by the part of the question that was asked and the name of the passage.
Readings = Mapping[tuple[int, str], Reading]


def to_read(scored: Sequence[Scored], parts: int) -> list[list[Passage]]:
    """For each part of a question, the passages of the sentences that answer it best."""
    room = math.ceil(PASSAGES / parts)
    found: list[dict[str, Passage]] = [{} for _ in range(parts)]
    for one in sorted(scored, key=lambda one: -one.logit):
        mine = found[one.part]
        if len(mine) < room:
            mine.setdefault(one.source.passage.name, one.source.passage)
    return [list(passages.values()) for passages in found]


def lifted(scored: Sequence[Scored], readings: Readings) -> list[Scored]:
    """The sentences, those above that hold the piece which the reader chose of their passage."""
    found: list[Scored] = []
    for one in scored:
        reading = readings.get((one.part, one.source.passage.name))
        holds = reading is not None and one.source.start <= reading.start < one.source.end
        found.append(replace(one, lift=lift(reading)) if reading is not None and holds else one)
    return found


def lift(reading: Reading) -> float:
    """What a reading adds to the logit of the sentence that holds its piece."""
    return LIFT * min(max(reading.logit, 0.0), MOST)


def short_answer(best: Source, reading: Reading | None, confidence: float) -> ShortAnswer | None:
    """The piece of the best sentence that answers in the fewest words; None where none is likely to.

    `confidence` is the probability that the sentence answers.
    """
    if reading is None or not best.start <= reading.start < reading.end <= best.end:
        return None
    fitted = weights()
    right = confidence * probability(fitted.piece_bias + fitted.piece_slope * reading.logit)
    if right < MIN_SHORT:
        return None
    passage = best.passage
    return ShortAnswer(
        text=passage.text[reading.start : reading.end],
        passage=passage.name,
        document=passage.document,
        span=Span(start=passage.span.start + reading.start, end=passage.span.start + reading.end),
        probability=right,
    )
