"""Names in a statement, told by their capitals: "Willie Stargell", "DNA", "Battle of Hastings". No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from answermesh.agents.language.facts import is_limit_or_negation
from answermesh.agents.language.words import STOP_WORDS, Word, words

# Small words that a name may hold between its capitals.
_JOINING = frozenset(["of", "the", "de", "la", "le", "du", "der", "den", "van", "von", "al", "el"])


@dataclass(frozen=True, slots=True)
class Name:
    """Words in a row that are written as one name."""

    # Stems of its words, joining words left out.
    stems: tuple[str, ...]
    # As written.
    text: str
    start: int
    # Whether it is the first or second word of its text: what the statement is about, more often than not.
    opens: bool = False


def names(text: str) -> list[Name]:
    """The names of a text, in order.

    The first word of a text is taken for a name only where something else than its capital says so: another capital
    in it or right behind it, or a digit. "Filming began" is no name; a lone "Tesla" at the front is missed.
    """
    runs: list[list[Word]] = []
    gap: list[Word] = []
    listed = list(words(text))
    for index, word in enumerate(listed):
        if _is_capital(text, listed, index):
            joined = bool(runs) and all(one.text in _JOINING for one in gap)
            if joined and not _breaks(text[runs[-1][-1].end : word.start]):
                runs[-1].append(word)
            else:
                runs.append([word])
            gap = []
        else:
            gap.append(word)
    front = listed[1].start if len(listed) > 1 else 0
    return [_name(text, run, opens=run[0].start <= front) for run in runs]


def _name(text: str, run: list[Word], *, opens: bool) -> Name:
    return Name(tuple(word.stem for word in run), text[run[0].start : run[-1].end], run[0].start, opens)


def _is_capital(text: str, listed: list[Word], index: int) -> bool:
    word = listed[index]
    written = text[word.start : word.end]
    if not written[0].isupper() or word.text in STOP_WORDS or is_limit_or_negation(word.text):
        return False
    if word.start and not _opens(text, word.start):
        return True
    following = listed[index + 1] if index + 1 < len(listed) else None
    beside = following is not None and text[following.start].isupper() and not _breaks(text[word.end : following.start])
    return beside or any(letter.isupper() or letter.isdigit() for letter in written[1:])


def _opens(text: str, start: int) -> bool:
    """Whether a sentence starts here."""
    before = text[:start].rstrip(" \t\n\"'“‘([")
    return not before or before[-1] in ".!?:"


def _breaks(between: str) -> bool:
    """Whether these characters between two words end a name."""
    return any(mark in between for mark in ",;:.!?()[]–—|")
