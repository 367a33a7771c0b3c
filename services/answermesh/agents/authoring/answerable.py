"""Whether sentences answer a question, as a calibrated probability: near them is not enough. No I/O after the first
use.

A question about a thing that the text speaks of, but asks otherwise, gets nearly the same score as one it answers, so
the reader has a say, and names and numbers are looked for. Nothing is counted that depends on what else is in the
document or the corpus: a document of one sentence answers as well as a long one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from functools import cache
from importlib.resources import files

from answermesh.agents.language.comparison import has_opposite
from answermesh.agents.language.facts import Role, parts
from answermesh.agents.language.naming import names
from answermesh.agents.language.words import words
from answermesh.agents.scoring import probability


@dataclass(frozen=True, slots=True)
class Signs:
    """A question beside the sentence that answers it best. More were tried (bench.calibrate_reading); these are left of
    them, since the others told how a set was made rather than what answers.
    """

    # Logit of the sentence, lifted by the reader.
    logit: float
    # Of the reading of its passage.
    reading: float
    # Cosine to the sentence, or to it under its heading where that is higher.
    cosine: float
    # Share of the question's names of which the sentence has no word.
    names_missing: float
    # 1 if the sentence lacks a number of the question.
    number_missing: float
    # 1 if it has the opposite of a word that it lacks.
    opposite: float


NAMES = tuple(field.name for field in fields(Signs))


def signs(question: str, sentence: str, logit: float, reading: float, alike: float) -> Signs:
    """The signs of a question; `alike` is the cosine."""
    asked, said, named = parts(question), parts(sentence), names(question)
    theirs, mine = {part.identity for part in said}, {part.identity for part in asked}
    missing = [part for part in asked if part.identity not in theirs]
    spoken = {word.stem for word in words(sentence)}
    return Signs(
        logit=logit,
        reading=reading,
        cosine=alike,
        names_missing=sum(spoken.isdisjoint(name.stems) for name in named) / len(named) if named else 0.0,
        number_missing=float(any(part.role is Role.NUMBER for part in missing)),
        opposite=float(has_opposite(missing, [part for part in said if part.identity not in mine])),
    )


@dataclass(frozen=True, slots=True)
class Weights:
    """What was fitted: on the signs, and on whether a piece is right where its sentence answers, by its reading."""

    bias: float
    by_sign: Mapping[str, float]
    piece_bias: float
    piece_slope: float


def answers(found: Signs) -> float:
    """The probability that the sentence answers."""
    fitted = weights()
    return probability(
        fitted.bias + sum(fitted.by_sign[name] * value for name, value in zip(NAMES, astuple(found), strict=True))
    )


@cache
def weights() -> Weights:
    """The weights that answermesh ships."""
    table = tomllib.loads((files("answermesh.agents") / "weights" / "answerable.toml").read_text(encoding="utf-8"))
    assert set(table["weights"]) == set(NAMES), "weights/answerable.toml was fitted on other signs"
    return Weights(table["bias"], table["weights"], table["short_answer"]["bias"], table["short_answer"]["slope"])
