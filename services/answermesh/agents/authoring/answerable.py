"""Whether sentences answer a question, as a calibrated probability: near them is not enough. No I/O after the first
use.

A question about a thing that the text speaks of, but asks otherwise, gets nearly the same score as one it answers. What
gives it away is a word of the question that the best sentence does not go along with: without that word, question and
sentence are more alike.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from functools import cache
from importlib.resources import files

from answermesh.agents.language.comparison import has_opposite, negation_differs
from answermesh.agents.language.facts import Role, parts
from answermesh.agents.language.naming import names
from answermesh.agents.language.words import content_stems, coverage, words

_MANY = 3
_MANY_WORDS = 6


@dataclass(frozen=True, slots=True)
class Signs:
    """A question beside the sentence that answers it best, and beside that sentence's whole passage."""

    # Logits of the best and the second-best sentence.
    best: float
    second: float
    # Cosine to the best sentence, and its change when a word is left out of the question.
    cosine: float
    omission_highest: float
    omission_mean: float
    omission_lowest: float
    # Share of the question's content words in the sentence and in the passage.
    covered: float
    covered_by_passage: float
    # Share of the question's names of which the sentence has no word; 1 if the passage has not all of one.
    names_missing: float
    name_incomplete: float
    number_missing: float
    number_missing_in_passage: float
    negation_differs: float
    negated: float
    opposite: float
    words_missing: float
    words_missing_in_passage: float
    limits_missing: float
    limits_missing_in_passage: float
    length: float
    sentence_length: float


NAMES = tuple(field.name for field in fields(Signs))


def signs(
    question: str, sentence: str, passage: str, logits: Sequence[float], cosine: float, changes: Sequence[float]
) -> Signs:
    """The signs of a question; `logits` are those of all sentences, best first, `changes` those of the cosine."""
    asked, said, around = parts(question), parts(sentence), parts(passage)
    near = {part.identity for part in said}
    far = {part.identity for part in around}
    own = {part.identity for part in asked}
    missing = [part for part in asked if part.identity not in near]
    lost = [part for part in missing if part.identity not in far]
    named, stems = names(question), content_stems(question)
    spoken = {word.stem for word in words(sentence)}
    known = {word.stem for word in words(passage)}
    return Signs(
        best=logits[0],
        second=logits[1] if len(logits) > 1 else -11.0,
        cosine=cosine,
        omission_highest=max(changes, default=0.0),
        omission_mean=sum(changes) / len(changes) if changes else 0.0,
        omission_lowest=min(changes, default=0.0),
        covered=coverage(stems, spoken),
        covered_by_passage=coverage(stems, known),
        names_missing=sum(spoken.isdisjoint(name.stems) for name in named) / len(named) if named else 0.0,
        name_incomplete=float(any(not known.issuperset(name.stems) for name in named)),
        number_missing=float(any(part.role is Role.NUMBER for part in missing)),
        number_missing_in_passage=float(any(part.role is Role.NUMBER for part in lost)),
        negation_differs=float(negation_differs(question, sentence)),
        negated=float(any(part.role is Role.NEGATION for part in asked)),
        opposite=float(has_opposite(missing, [part for part in said if part.identity not in own])),
        words_missing=min(_MANY_WORDS, sum(part.role is Role.WORD for part in missing)),
        words_missing_in_passage=min(_MANY_WORDS, sum(part.role is Role.WORD for part in lost)),
        limits_missing=min(_MANY, sum(part.role is Role.LIMIT for part in missing)),
        limits_missing_in_passage=min(_MANY, sum(part.role is Role.LIMIT for part in lost)),
        length=len(asked) / 10,
        sentence_length=len(said) / 10,
    )


def probability(found: Signs) -> float:
    """The probability that the sentence answers, by the weights that answermesh ships."""
    bias, by_name = _weights()
    total = bias + sum(by_name[name] * value for name, value in zip(NAMES, astuple(found), strict=True))
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, total))))


@cache
def _weights() -> tuple[float, dict[str, float]]:
    table = tomllib.loads((files("answermesh.agents") / "weights" / "answerable.toml").read_text(encoding="utf-8"))
    assert set(table["weights"]) == set(NAMES), "weights/answerable.toml was fitted on other signs"
    return table["bias"], table["weights"]
