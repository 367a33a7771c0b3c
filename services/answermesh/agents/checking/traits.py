"""What tells whether a source supports a claim, as numbers for the weighing: scores and compared words. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from answermesh.agents.checking.vetoes import other_name, other_number
from answermesh.agents.language.comparison import Comparison, Relation, compare, has_opposite
from answermesh.agents.language.facts import Part, Role, parts
from answermesh.agents.language.naming import Name, names
from answermesh.agents.language.words import content_stems, coverage, words

# Counts above these say no more.
_MANY = 3
_MANY_WORDS = 6


@dataclass(frozen=True, slots=True)
class Traits:
    """A claim beside the source sentence that comes nearest to it, and beside all sentences at hand.

    Shares and differences are 0 to 1 or small; what is or is not so is 1 or 0.
    """

    # Logit of the cross-encoder for the nearest sentence, and the mean of the next two.
    logit: float
    logit_next: float
    # Cosine of claim and nearest sentence, and the highest of all.
    cosine: float
    cosine_best: float
    # Logit of the reader, asked the claim of all sentences as one text.
    reading: float
    # Share of the claim's content words that the nearest sentence has, that the best has, that the nearest three have.
    covered: float
    covered_best: float
    covered_together: float
    # Share of the claim's parts that come in the nearest sentence's order, and in the best's.
    in_order: float
    in_order_best: float
    # Words of the claim that the nearest sentence lacks: how many, what share of its parts, and the least share of all.
    words_missing: float
    words_missing_share: float
    words_missing_least: float
    # Limits ("only", "may") of the claim that the nearest sentence lacks, and the other way round.
    limits_missing: float
    limits_added: float
    states_a_number: float
    number_missing: float
    number_missing_everywhere: float
    number_differs: float
    # Share of the claim's names of which the nearest sentence has no word; the least of all; names it has not whole.
    names_missing: float
    names_missing_least: float
    names_incomplete: float
    name_differs: float
    negation_differs: float
    negated_claim: float
    negated_source: float
    opposite: float
    opposite_anywhere: float
    same_words: float
    same_words_anywhere: float
    contrary_words: float
    contrary_words_anywhere: float
    # Lengths in parts, in tens.
    length: float
    source_length: float

    def row(self) -> tuple[float, ...]:
        """The numbers in the order of the fields."""
        return astuple(self)


NAMES = tuple(field.name for field in fields(Traits))


class _Beside:
    """A claim beside one sentence."""

    def __init__(self, claim_parts: Sequence[Part], named: Sequence[Name], claim: str, source: str) -> None:
        self.parts = parts(source)
        self.comparison: Comparison = compare(claim, source)
        self.stems = content_stems(source)
        spoken = {word.stem for word in words(source)}
        said = {part.identity for part in self.parts}
        said_words = {part.key for part in self.parts if part.role is Role.WORD}
        stated = {part.identity for part in claim_parts}
        self.missing = [part for part in claim_parts if part.identity not in said]
        added = [part for part in self.parts if part.identity not in stated]
        self.words_missing = sum(part.role is Role.WORD and part.key not in said_words for part in claim_parts)
        self.words_missing_share = self.words_missing / len(claim_parts) if claim_parts else 0.0
        self.limits_missing = sum(part.role is Role.LIMIT for part in self.missing)
        self.limits_added = sum(part.role is Role.LIMIT for part in added)
        self.number_missing = any(part.role is Role.NUMBER for part in self.missing)
        self.negated = any(part.role is Role.NEGATION for part in self.parts)
        self.opposite = has_opposite(self.missing, added)
        self.names_missing = sum(spoken.isdisjoint(name.stems) for name in named) / len(named) if named else 0.0
        self.names_incomplete = sum(not spoken.issuperset(name.stems) for name in named)

    def is_(self, relation: Relation) -> bool:
        return self.comparison.relation is relation


def traits(
    claim: str,
    sources: Sequence[str],
    logits: Sequence[float],
    cosines: Sequence[float],
    reading: float,
) -> Traits:
    """The traits of a claim beside sentences, the nearest first; `logits` and `cosines` are theirs.

    `reading` is the reader's logit of all as one text.
    """
    claim_parts, named, stems = parts(claim), names(claim), content_stems(claim)
    beside = [_Beside(claim_parts, named, claim, source) for source in sources]
    nearest = beside[0]
    negating = any(part.role is Role.NEGATION for part in claim_parts)
    return Traits(
        logit=logits[0],
        logit_next=sum(logits[1:3]) / len(logits[1:3]) if len(logits) > 1 else -11.0,
        cosine=cosines[0],
        cosine_best=max(cosines),
        reading=reading,
        covered=coverage(stems, nearest.stems),
        covered_best=max(coverage(stems, one.stems) for one in beside),
        covered_together=coverage(stems, frozenset().union(*(one.stems for one in beside[:3]))),
        in_order=nearest.comparison.matched,
        in_order_best=max(one.comparison.matched for one in beside),
        words_missing=min(_MANY_WORDS, nearest.words_missing),
        words_missing_share=nearest.words_missing_share,
        words_missing_least=min(one.words_missing_share for one in beside),
        limits_missing=min(_MANY, nearest.limits_missing),
        limits_added=min(_MANY, nearest.limits_added),
        states_a_number=float(any(part.role is Role.NUMBER for part in claim_parts)),
        number_missing=float(nearest.number_missing),
        number_missing_everywhere=float(all(one.number_missing for one in beside)),
        number_differs=float(other_number(claim, sources[0]) is not None),
        names_missing=nearest.names_missing,
        names_missing_least=min(one.names_missing for one in beside),
        names_incomplete=min(_MANY, nearest.names_incomplete),
        name_differs=float(other_name(claim, sources[0]) is not None),
        negation_differs=float(negating != nearest.negated),
        negated_claim=float(negating),
        negated_source=float(nearest.negated),
        opposite=float(nearest.opposite),
        opposite_anywhere=float(any(one.opposite for one in beside)),
        same_words=float(nearest.is_(Relation.ENTAILED)),
        same_words_anywhere=float(any(one.is_(Relation.ENTAILED) for one in beside)),
        contrary_words=float(nearest.is_(Relation.CONTRADICTED)),
        contrary_words_anywhere=float(any(one.is_(Relation.CONTRADICTED) for one in beside)),
        length=len(claim_parts) / 10,
        source_length=len(nearest.parts) / 10,
    )
