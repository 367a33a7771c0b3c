"""The short answer: which piece of the best sentences answers a question, by weights fitted on questions. No I/O after
the first use.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from answermesh.agents.authoring.spans import Piece, pieces
from answermesh.agents.language.asking import Asking, asking
from answermesh.agents.language.words import STOP_WORDS, Word, content_stems, stem, words

# Sentences whose pieces compete.
SENTENCES = 2
_MAX_LENGTH = 7
_FAR = 15
_BEFORE = frozenset("by in on at for to because of called named as from with is was are were the a and".split())
_STOPS = STOP_WORDS | _BEFORE


@dataclass(frozen=True, slots=True)
class Found:
    """A piece of one of the sentences, with the probability that it is the one among all pieces that answers."""

    sentence: int
    piece: Piece
    probability: float


def read(question: str, sentences: Sequence[str], logits: Sequence[float]) -> Found | None:
    """The piece that answers best; None where the sentences have none. The best sentence comes first."""
    candidates = [
        (index, piece, features(question, sentence, piece, logits[index] - logits[0]))
        for index, sentence in enumerate(sentences[:SENTENCES])
        for piece in pieces(sentence)
    ]
    if not candidates:
        return None
    known = weights()
    sums = [sum(known.get(name, 0.0) * value for name, value in named.items()) for _, _, named in candidates]
    highest = max(sums)
    total = sum(math.exp(one - highest) for one in sums)
    index, piece, _ = candidates[sums.index(highest)]
    return Found(index, piece, 1.0 / total)


def features(question: str, sentence: str, piece: Piece, behind: float) -> dict[str, float]:
    """What speaks for and against a piece, by name; what is 0 may be left out.

    `behind` is how far the sentence's logit lies behind the best one's.
    """
    asked = _asked(question)
    around = _words(sentence)
    inside = [n for n, word in enumerate(around) if word.start < piece.end and word.end > piece.start]
    first, last = inside[0], inside[-1]
    found = {"behind": behind / 4, f"kind {piece.kind.value}": 1.0}
    found |= _own(asked, sentence, piece, [around[n] for n in inside])
    found |= _place(asked, around, first, last)
    found |= _borders(asked, sentence, piece, around, first, last)
    sort = asked.asking.asked.value
    crossed = {name: found[name] for name in ("capitals", "digits", "words", "before") if name in found}
    found |= {f"{sort}: {name}": value for name, value in crossed.items()}
    found[f"{sort}: kind {piece.kind.value}"] = 1.0
    return {name: value for name, value in found.items() if value}


@cache
def weights() -> Mapping[str, float]:
    """The weights that answermesh ships, by name of the feature."""
    table = tomllib.loads((files("answermesh.agents") / "weights" / "answers.toml").read_text(encoding="utf-8"))
    found: dict[str, float] = table["weights"]
    return found


@dataclass(frozen=True, slots=True)
class _Question:
    asking: Asking
    stems: frozenset[str]
    texts: frozenset[str]


@cache
def _asked_of(question: str) -> _Question:
    return _Question(asking(question), content_stems(question), frozenset(word.text for word in words(question)))


def _asked(question: str) -> _Question:
    if _asked_of.cache_info().currsize > 256:
        _asked_of.cache_clear()
    return _asked_of(question)


def _words(sentence: str) -> list[Word]:
    return list(words(sentence))


def _own(asked: _Question, sentence: str, piece: Piece, inside: Sequence[Word]) -> dict[str, float]:
    """Of the piece itself."""
    content = [word for word in inside if word.text not in STOP_WORDS]
    repeated = sum(word.stem in asked.stems for word in content)
    count = len(inside)
    focus = asked.asking.focus
    return {
        "repeats": repeated / max(1, len(content)),
        "repeats all": float(repeated == len(content)),
        "repeats any": float(repeated > 0),
        f"length {min(count, _MAX_LENGTH)}": 1.0,
        "words": count / 4,
        "capitals": sum(sentence[word.start].isupper() for word in inside) / count,
        "digits": float(any(letter.isdigit() for letter in sentence[piece.start : piece.end])),
        "has focus": float(bool(focus) and any(word.stem == stem(focus) for word in inside)),
    }


def _place(asked: _Question, around: Sequence[Word], first: int, last: int) -> dict[str, float]:
    """Where it stands among the words of the question."""
    met = [
        n
        for n, word in enumerate(around)
        if word.stem in asked.stems and word.text not in STOP_WORDS and not first <= n <= last
    ]
    distances = sorted(min(abs(n - first), abs(n - last)) for n in met)
    nearest = distances[:4]
    return {
        "nearest": min(distances, default=_FAR) / 5,
        "near": sum(nearest) / len(nearest) / 8 if nearest else 3.0,
        "within 3": sum(one <= 3 for one in distances) / 3,
        "within 6": sum(one <= 6 for one in distances) / 5,
        "before": sum(n < first for n in met) / len(met) if met else 0.5,
    }


def _borders(
    asked: _Question, sentence: str, piece: Piece, around: Sequence[Word], first: int, last: int
) -> dict[str, float]:
    """What stands on either side of it."""
    before = around[first - 1].text if first else ""
    after = around[last + 1].text if last + 1 < len(around) else ""
    gap_before = sentence[around[first - 1].end : piece.start] if first else ""
    gap_after = sentence[piece.end : around[last + 1].start] if after else "."
    opens = not first or before in _STOPS or any(mark in ',;:("' for mark in gap_before)
    closes = not after or after in STOP_WORDS or any(mark in ',;:)."' for mark in gap_after)
    sort = asked.asking.asked.value
    found = {
        "first": float(not first),
        "last": float(not after),
        "opens": float(opens),
        "closes": float(closes),
        "whole": float(opens and closes),
        "behind its words": float(before in asked.texts and before not in STOP_WORDS),
        "in front of its words": float(after in asked.texts and after not in STOP_WORDS),
        "quoted": float('"' in gap_before or "“" in gap_before),
        "beside focus": float(bool(asked.asking.focus) and asked.asking.focus in (before, after)),
    }
    if before in _BEFORE:
        found[f"after {before}"] = found[f"{sort}: after {before}"] = 1.0
    return found
