"""Whether sentences answer a question, as a calibrated probability: near them is not enough. No I/O after the first
use.

A question about a thing that the text speaks of, but asks otherwise, gets nearly the same score as one it answers. What
gives it away is a word of the question that the best sentence does not go along with: without that word, question and
sentence are more alike. Nothing is counted that depends on what else is in the document or the corpus: a document of
one sentence answers as well as a long one.
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
from answermesh.agents.language.words import words
from answermesh.agents.scoring import cosine

Vector = Sequence[float]


@dataclass(frozen=True, slots=True)
class Signs:
    """A question beside the sentence that answers it best. More were tried (bench.calibrate_reading); these are left of
    them, since the others told how a set was made rather than what answers.
    """

    # Logit of the sentence.
    logit: float
    # Cosine to the sentence, or to it under its heading where that is higher, and the highest change of it when a word
    # is left out of the question.
    cosine: float
    omission: float
    # Share of the question's names of which the sentence has no word; 1 if its passage has not all of one.
    names_missing: float
    name_incomplete: float
    number_missing: float
    negation_differs: float
    opposite: float
    # In parts, in tens.
    length: float
    sentence_length: float


NAMES = tuple(field.name for field in fields(Signs))


def signs(question: str, sentence: str, passage: str, logit: float, alike: float, changes: Sequence[float]) -> Signs:
    """The signs of a question; `alike` is the cosine, `changes` are its changes."""
    asked, said, named = parts(question), parts(sentence), names(question)
    theirs, mine = {part.identity for part in said}, {part.identity for part in asked}
    missing = [part for part in asked if part.identity not in theirs]
    spoken = {word.stem for word in words(sentence)}
    known = {word.stem for word in words(passage)}
    return Signs(
        logit=logit,
        cosine=alike,
        omission=max(changes, default=0.0),
        names_missing=sum(spoken.isdisjoint(name.stems) for name in named) / len(named) if named else 0.0,
        name_incomplete=float(any(not known.issuperset(name.stems) for name in named)),
        number_missing=float(any(part.role is Role.NUMBER for part in missing)),
        negation_differs=float(negation_differs(question, sentence)),
        opposite=float(has_opposite(missing, [part for part in said if part.identity not in mine])),
        length=len(asked) / 10,
        sentence_length=len(said) / 10,
    )


def likeness(question: Vector, sentence: Sequence[Vector], without: Sequence[Vector]) -> tuple[float, list[float]]:
    """The cosine of a question to the nearest of a sentence's vectors, and its changes without a word each."""
    nearest = max(sentence, key=lambda one: cosine(question, one))
    base = cosine(question, nearest)
    return base, [cosine(one, nearest) - base for one in without]


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
