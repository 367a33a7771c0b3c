"""Words as agents compare them: lower-cased, lightly stemmed, without those that carry no meaning of their own."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass


def listed(text: str) -> list[str]:
    """The words of a list written as a text."""
    return text.split()


# A word may hold marks between letters and digits: don't, etcd-io, data_dir, v3.5.1, 10.000.
_WORD = re.compile(r"[^\W_]+(?:(?:[.,:/_'’-]|--)[^\W_]+)*", re.UNICODE)

STOP_WORDS = frozenset(
    listed(
        """
        a an the this that these those it its itself he she they them his her their theirs him we us our you your i
        me my is are was were be been being am do does did done doing have has had having to of in on at for with as
        and or so than then there here what which who whom whose where how why s also too very just such please tell
        explain describe mean means about into onto out up upon per via during again each other own same
        """
    )
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text: where it stands, and what it is compared by."""

    start: int
    end: int
    text: str
    stem: str


def words(text: str) -> Iterator[Word]:
    """All words of a text, in order."""
    for match in _WORD.finditer(text):
        folded = match.group().casefold().replace("’", "'")
        yield Word(match.start(), match.end(), folded, stem(folded))


def content_stems(text: str) -> frozenset[str]:
    """Stems of the words that carry meaning."""
    return frozenset(word.stem for word in words(text) if word.text not in STOP_WORDS)


def coverage(wanted: Collection[str], present: Collection[str]) -> float:
    """Share of the wanted stems that are present, 0 to 1; 0 where nothing is wanted."""
    return sum(one in present for one in wanted) / len(wanted) if wanted else 0.0


def similarity(one: Collection[str], other: Collection[str]) -> float:
    """Share of the smaller set's stems that the other has as well, 0 to 1."""
    smaller, larger = sorted((one, other), key=len)
    return coverage(smaller, larger)


def stem(word: str) -> str:
    """A word without its commonest English endings; identifiers and numbers stay as they are."""
    if not word.isalpha() or len(word) < 4:
        return word.removesuffix("'s")
    for ending, instead in (("sses", "ss"), ("ies", "y"), ("ied", "y")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word.removesuffix(ending) + instead
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        root = word.removesuffix(ending)
        if root != word and len(root) >= 3 and any(letter in "aeiouy" for letter in root):
            word = root[:-1] if root[-1] == root[-2] and root[-1] not in "lsz" else root
            break
    return word.removesuffix("e") if len(word) > 3 else word
