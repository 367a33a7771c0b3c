"""Conversations, as they are exported: lines with a speaker's name in front. Who says what, and where a turn ends. No
I/O.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from answermesh.knowledge.sentences import Sentence

# Turns from which a text is a conversation; one of its speakers speaks twice, which no field of a form does.
TURNS = 3

_SPEAKS = re.compile(r"^(?P<speaker>[A-Z][\w .'-]{0,30}): (?=\S)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Turn:
    """Characters `start` to `end` of a text: what one speaker says, the name in front included."""

    start: int
    end: int
    speaker: str


@lru_cache(maxsize=1024)
def turns(text: str) -> tuple[Turn, ...]:
    """The turns of a conversation, in order; none in another text."""
    found = list(_SPEAKS.finditer(text))
    if len(found) < TURNS or len({match["speaker"] for match in found}) == len(found):
        return ()
    ends = [*(match.start() for match in found[1:]), len(text)]
    return tuple(Turn(match.start(), end, match["speaker"]) for match, end in zip(found, ends, strict=True))


def turn_at(text: str, position: int) -> Turn | None:
    """The turn that a character of a conversation belongs to."""
    return next((turn for turn in turns(text) if turn.start <= position < turn.end), None)


def by_turn(text: str, sentences: Iterable[Sentence]) -> list[Sentence]:
    """Sentences, cut where another speaks: what people write to each other often ends without a full stop."""
    starts = [turn.start for turn in turns(text)]
    found: list[Sentence] = []
    for sentence in sentences:
        cuts = [sentence.start, *(start for start in starts if sentence.start < start < sentence.end), sentence.end]
        for start, end in itertools.pairwise(cuts):
            found.append(replace(sentence, start=start, end=start + len(text[start:end].rstrip())))
    return found
