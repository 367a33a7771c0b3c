"""Statements altered in one number or name: what no check may call supported. Pure; the same seed, the same ones."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from answermesh.agents.language.facts import Role, parts
from answermesh.agents.language.naming import names
from answermesh.knowledge.sentences import split

# Sentences that can be read, and long enough to state something.
_MIN_WORDS = 6
_MAX_WORDS = 40
_STEPS = (-3, -2, -1, 1, 2, 3, 5, 10)
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Alteration:
    """A sentence of a text with something else in the place of a number or a name."""

    kind: str
    sentence: str
    altered: str
    # The text that the sentence stands in.
    text: str


def alterations(texts: Sequence[str], count: int, seed: int = 7) -> list[Alteration]:
    """`count` of them at most, numbers and names in turn, one from each text.

    A name is replaced by one of another text that does not occur in this one.
    """
    draw = random.Random(seed)  # noqa: S311  # a sample, no secret
    order = list(texts)
    draw.shuffle(order)
    pool = [name.text for text in order for name in names(text)]
    found: list[Alteration] = []
    for text in order:
        if len(found) >= count:
            break
        sentences = list(_sentences(text))
        draw.shuffle(sentences)
        wanted = ("number", "name")[len(found) % 2]
        made = (_altered(wanted, sentence, text, pool, draw) for sentence in sentences)
        if one := next((one for one in made if one is not None), None):
            found.append(one)
    return found


def _sentences(text: str) -> Iterator[str]:
    for span in split(text):
        sentence = text[span.start : span.end]
        if span.prose and _MIN_WORDS <= len(sentence.split()) <= _MAX_WORDS:
            yield sentence


def _altered(kind: str, sentence: str, text: str, pool: Sequence[str], draw: random.Random) -> Alteration | None:
    if kind == "number":
        numbers = [part for part in parts(sentence) if part.role is Role.NUMBER and _DIGITS.search(part.text)]
        if not numbers:
            return None
        part = draw.choice(numbers)
        # A decade stays one.
        steps = (-20, -10, 10, 20) if part.unit == "decade" else _STEPS
        start, end, instead = part.start, part.start + len(part.text), _other_number(part.text, steps, draw)
    else:
        named = names(sentence)
        strangers = [name for name in draw.sample(pool, min(20, len(pool))) if name.casefold() not in text.casefold()]
        if not named or not strangers:
            return None
        name = draw.choice(named)
        start, end, instead = name.start, name.start + len(name.text), strangers[0]
    return Alteration(kind, sentence, sentence[:start] + instead + sentence[end:], text)


def _other_number(written: str, steps: Sequence[int], draw: random.Random) -> str:
    match = _DIGITS.search(written)
    assert match is not None
    value = int(match.group())
    other = value
    while other == value:
        other = max(1, value + draw.choice(steps))
    return written[: match.start()] + str(other) + written[match.end() :]
