"""Pieces of a source sentence that may be the short answer to a question: numbers, dates, names, phrases. No I/O."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass

from answermesh.agents.language.facts import Part, Role, parts
from answermesh.agents.language.naming import names
from answermesh.agents.language.words import STOP_WORDS, Word, words

# Longest phrase, in words.
MAX_WORDS = 6
MAX_CANDIDATES = 40


class Kind(enum.Enum):
    """What a piece looks like."""

    NUMBER = "number"
    DATE = "date"
    NAME = "name"
    PHRASE = "phrase"


@dataclass(frozen=True, slots=True)
class Piece:
    """Characters `start` to `end` of a sentence."""

    start: int
    end: int
    kind: Kind


# Where a phrase ends: words that join or open phrases.
_BOUNDS = STOP_WORDS | frozenset(
    """not no never by but however while because although though that which who whose whom when where if unless until
    since before after during between among against under over through within without upon toward towards as than like
    can could may might must shall should will would had has have been being be is are was were do does did""".split()
)
_DATE_UNITS = frozenset(["month", "weekday", "decade"])
_PUNCTUATION = re.compile(r"[,;:()\[\]\"“”!?]|\s[–—-]\s|\.\s")


def pieces(sentence: str) -> list[Piece]:
    """The candidates of a sentence, each span once, in order."""
    found: dict[tuple[int, int], Piece] = {}
    for piece in (*_numbers(sentence), *_names(sentence), *_phrases(sentence)):
        found.setdefault((piece.start, piece.end), piece)
    return sorted(found.values(), key=lambda piece: (piece.start, piece.end))[:MAX_CANDIDATES]


def _numbers(sentence: str) -> Iterator[Piece]:
    """Numbers with their units; dates whole."""
    run: list[Part] = []
    for part in (part for part in parts(sentence) if part.role is Role.NUMBER):
        if run and sentence[run[-1].start + len(run[-1].text) : part.start].strip(" ,") == "" and _dated([*run, part]):
            run.append(part)
            continue
        yield from _run(run)
        run = [part]
    yield from _run(run)


def _run(run: list[Part]) -> Iterator[Piece]:
    if run:
        kind = Kind.DATE if _dated(run) else Kind.NUMBER
        yield Piece(run[0].start, run[-1].start + len(run[-1].text), kind)
        if len(run) > 1:
            last = run[-1]
            yield Piece(last.start, last.start + len(last.text), kind)


def _dated(run: list[Part]) -> bool:
    year = any(not part.unit and len(part.text) == 4 and part.text.isdigit() for part in run)
    return year or any(part.unit in _DATE_UNITS for part in run)


def _names(sentence: str) -> Iterator[Piece]:
    for name in names(sentence):
        yield Piece(name.start, name.start + len(name.text), Kind.NAME)


def _phrases(sentence: str) -> Iterator[Piece]:
    """Runs of words between joining words and punctuation, and two such runs joined by "of" or "and"."""
    runs: list[list[Word]] = [[]]
    for word in words(sentence):
        broken = runs[-1] and _PUNCTUATION.search(sentence, runs[-1][-1].end, word.start)
        if word.text in _BOUNDS:
            runs.append([])
        else:
            if broken:
                runs.append([])
            runs[-1].append(word)
    runs = [run for run in runs if run]
    for index, run in enumerate(runs):
        yield from _shortened(run)
        following = runs[index + 1] if index + 1 < len(runs) else None
        if following and sentence[run[-1].end : following[0].start].strip().casefold() in ("of", "of the", "and", "in"):
            yield Piece(run[0].start, following[-1].end, Kind.PHRASE)


def _shortened(run: list[Word]) -> Iterator[Piece]:
    """A run of words, and what is left of it without its first or last words: "rapid growth followed"."""
    for first in range(min(3, len(run))):
        for last in range(len(run), max(first, len(run) - 3), -1):
            if last - first <= MAX_WORDS:
                yield Piece(run[first].start, run[last - 1].end, Kind.PHRASE)
