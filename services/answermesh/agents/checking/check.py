"""Checks one claim against sources: finds the nearest by the models, compares word by word, weighs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from answermesh.agents.checking.traits import Traits, traits
from answermesh.agents.checking.vetoes import veto
from answermesh.agents.checking.weighing import Odds, weights
from answermesh.agents.language.comparison import Relation, compare
from answermesh.agents.language.words import content_stems, coverage
from answermesh.agents.scoring import Scorer, cosine
from answermesh.agents.sources import Source, Sources
from answermesh.v1.finding_pb2 import Verdict

# What checked, where no language model did.
EMBEDDED = "embedded"
# Pieces of sources that the models read for one claim.
READ_LIMIT = 8
# Highest probability of support that is told against a veto.
VETOED = 0.2
# Share of a claim's words from which a source that settles nothing is still worth showing.
NEAR = 0.4
# Probabilities of what words alone decide: the same statement, and the contrary statement.
STATED = Odds(0.97, 0.01, 0.02)
CONTRARY = Odds(0.03, 0.87, 0.1)
VERBATIM = Odds(1.0, 0.0, 0.0)
# What stands where no source is there at all.
NOTHING = Odds(0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Nearest:
    """The sources nearest to a claim, nearest first, and its traits beside the first."""

    sources: tuple[Source, ...]
    # What the traits are beside: the first source, or two as one.
    carrying: tuple[Source, ...]
    traits: Traits

    @property
    def text(self) -> str:
        """The text of what the traits are beside."""
        return " ".join(source.text for source in self.carrying)


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of checking a claim."""

    value: Verdict.Value.ValueType
    odds: Odds
    rationale: str
    # Nearest first; empty where there was none. The first settles it.
    sources: tuple[Source, ...] = ()
    # Whether the first comes near enough to be shown where it settles nothing.
    near: bool = True
    # Whether words alone decided, so that no judge need look at it.
    plain: bool = False
    # The smallest pieces that carry the claim together; empty unless it is supported.
    carrying: tuple[Source, ...] = ()

    def verdict(self, index: int) -> Verdict:
        """The verdict on the sentence or claim of this index."""
        probability = {
            Verdict.VALUE_SUPPORTED: self.odds.supported,
            Verdict.VALUE_REFUTED: self.odds.refuted,
            Verdict.VALUE_NOT_ENOUGH_EVIDENCE: 1 - self.odds.supported - self.odds.refuted,
        }[self.value]
        told = Verdict(
            sentence_index=index,
            value=self.value,
            confidence=probability,
            rationale=self.rationale,
            method=EMBEDDED,
            supported_probability=self.odds.supported,
            refuted_probability=self.odds.refuted,
        )
        if self.sources and (self.near or self.value != Verdict.VALUE_NOT_ENOUGH_EVIDENCE):
            told.evidence.CopyFrom(self.sources[0].citation(index, probability))
        return told


@dataclass(slots=True)
class Check:
    """Where the check of one sentence or claim stands; a judge may give it another verdict."""

    index: int
    text: str
    # Sources to judge by, nearest first.
    sources: tuple[Source, ...]
    verdict: Verdict
    plain: bool = False

    @classmethod
    def of(cls, index: int, text: str, checked: Checked) -> Check:
        """The check as the embedded models and rules leave it."""
        return cls(index, text, checked.sources, checked.verdict(index), checked.plain)


async def check(claim: str, sources: Sources, scorer: Scorer, names: Iterable[str] | None = None) -> Checked:
    """Check a claim against the named passages, or against all.

    Raises AioRpcError where the models do not answer.
    """
    names = None if names is None else list(names)
    windows = sources.windows(names)
    if source := word_for_word(claim, windows):
        return Checked(
            Verdict.VALUE_SUPPORTED,
            VERBATIM,
            "the source says it word for word",
            (source,),
            plain=True,
            carrying=(source,),
        )
    if settled := by_words(claim, preselected(claim, windows)):
        return settled
    read = preselected(claim, sources.sentences(names))
    if not read:
        return Checked(Verdict.VALUE_NOT_ENOUGH_EVIDENCE, NOTHING, "no passage speaks of it")
    return judged(claim, await nearest(claim, read, scorer))


def by_words(claim: str, read: Sequence[Source]) -> Checked | None:
    """The verdict where words alone decide; a source that states the claim outweighs one that states the contrary."""
    compared = [(compare(claim, source.text), source) for source in read]
    for relation, value, odds in (
        (Relation.ENTAILED, Verdict.VALUE_SUPPORTED, STATED),
        (Relation.CONTRADICTED, Verdict.VALUE_REFUTED, CONTRARY),
    ):
        for comparison, source in compared:
            if comparison.relation is relation:
                rest = tuple(other for other in read if other is not source)
                carrying = (source,) if relation is Relation.ENTAILED else ()
                return Checked(value, odds, comparison.rationale, (source, *rest), plain=True, carrying=carrying)
    return None


def judged(claim: str, nearest: Nearest) -> Checked:
    """The verdict by weight, and by what a weighing must not overlook."""
    odds = weights().odds(nearest.traits)
    values = {
        Verdict.VALUE_SUPPORTED: odds.supported,
        Verdict.VALUE_REFUTED: odds.refuted,
        Verdict.VALUE_NOT_ENOUGH_EVIDENCE: odds.unsettled,
    }
    value = max(values, key=lambda one: values[one])
    near = nearest.traits.covered >= NEAR
    context = " ".join(source.text for source in nearest.sources)
    if speaks := veto(claim, nearest.text, context):
        odds = _vetoed(odds, refuted=speaks.refutes)
        value = Verdict.VALUE_REFUTED if speaks.refutes else Verdict.VALUE_NOT_ENOUGH_EVIDENCE
        return Checked(value, odds, speaks.reason, nearest.sources, near)
    carrying = nearest.carrying if value == Verdict.VALUE_SUPPORTED else ()
    return Checked(value, odds, _told(claim, nearest.text, value), nearest.sources, near, carrying=carrying)


def word_for_word(sentence: str, windows: Sequence[Source]) -> Source | None:
    """The source sentence, whole, that a sentence repeats; white space aside."""
    wanted = sentence.split()
    return next(
        (window for window in windows if len(window.text) >= len(wanted) and window.text.split() == wanted), None
    )


def preselected(claim: str, windows: Sequence[Source]) -> list[Source]:
    """The pieces worth the models' time: those that share the most words, of equals the shorter."""
    stems = content_stems(claim)
    return sorted(windows, key=lambda one: (-coverage(stems, one.stems), one.end - one.start))[:READ_LIMIT]


async def nearest(claim: str, read: Sequence[Source], scorer: Scorer) -> Nearest:
    """The pieces by the cross-encoder, nearest first, and the claim's traits beside the nearest.

    The two pieces that share most words are also read as one: a claim may rest on both.
    """
    texts = [source.text for source in read]
    pieces: list[tuple[Source, ...]] = [(source,) for source in read]
    if len(read) > 1:
        texts.append(" ".join(texts[:2]))
        pieces.append((read[0], read[1]))
    together = " ".join(source.text for source in sorted(read, key=lambda one: (one.passage.name, one.start)))
    async with asyncio.TaskGroup() as group:
        scoring = group.create_task(scorer.score(claim, texts))
        embedding = group.create_task(scorer.vectors([claim, *texts]))
        reading = group.create_task(scorer.read(claim, [together]))
    logits, (mine, *vectors), [whole] = scoring.result(), embedding.result(), reading.result()
    order = sorted(range(len(texts)), key=lambda n: -logits[n])
    found = traits(
        claim,
        [texts[n] for n in order],
        [logits[n] for n in order],
        [cosine(mine, vectors[n]) for n in order],
        whole.logit,
    )
    ranked = dict.fromkeys(source for n in order for source in pieces[n])
    return Nearest(tuple(ranked), pieces[order[0]], found)


def _vetoed(odds: Odds, *, refuted: bool) -> Odds:
    """The odds after a veto: what support loses goes to what the veto says instead."""
    supported = min(odds.supported, VETOED)
    lost = odds.supported - supported
    likelier, other = sorted((odds.refuted, odds.unsettled), reverse=True)
    if refuted:
        return Odds(supported, likelier + lost, other)
    return Odds(supported, other, likelier + lost)


def _told(claim: str, source: str, value: Verdict.Value.ValueType) -> str:
    comparison = compare(claim, source)
    if value == Verdict.VALUE_SUPPORTED:
        return "the source says it in other words, by the embedded models"
    if value == Verdict.VALUE_REFUTED:
        return f"the embedded models weigh against it: {comparison.rationale}"
    return comparison.rationale
