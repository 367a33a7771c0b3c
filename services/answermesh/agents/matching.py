"""Which source sentences come nearest to a sentence of the answer, by shared words and by the cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from answermesh.agents.comparison import Comparison, Relation, compare
from answermesh.agents.scoring import Scorer, probability
from answermesh.agents.sources import Source
from answermesh.agents.words import content_stems, coverage

# Source sentences that the cross-encoder reads for one sentence of the answer: about 16 ms each on one thread.
SCORED_LIMIT = 6
# Share of a sentence's words below which a source sentence is not looked at.
MIN_OVERLAP = 0.25


@dataclass(frozen=True, slots=True)
class Match:
    """A source sentence (or two in a row) beside a sentence of the answer."""

    source: Source
    # Share of the sentence's words that the source has, 0 to 1.
    overlap: float
    # Logit of the cross-encoder.
    logit: float
    comparison: Comparison

    @property
    def strength(self) -> float:
        """How near the two are, 0 to 1: words and model have equal say."""
        return (self.overlap + probability(self.logit)) / 2


async def nearest(sentence: str, windows: Sequence[Source], scorer: Scorer) -> list[Match]:
    """The nearest source sentences, nearest first; those that state the sentence or its contrary before the others."""
    stems = content_stems(sentence)
    ranked = [(coverage(stems, window.stems), window) for window in windows]
    # Of equal overlap, the shorter: the smallest span that carries the sentence.
    ranked.sort(key=lambda pair: (-pair[0], pair[1].end - pair[1].start))
    near = [(overlap, window) for overlap, window in ranked if overlap >= MIN_OVERLAP][:SCORED_LIMIT]
    if not near:
        return []
    logits = await scorer.score(sentence, [window.text for _, window in near])
    matches = [
        Match(window, overlap, logit, compare(sentence, window.text))
        for (overlap, window), logit in zip(near, logits, strict=True)
    ]
    order = {Relation.ENTAILED: 0, Relation.CONTRADICTED: 1, Relation.NEUTRAL: 2}
    return sorted(matches, key=lambda match: (order[match.comparison.relation], -match.strength))
