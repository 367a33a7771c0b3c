"""What sort of thing a question asks for: a person, a time, a place, a number, a reason. No I/O."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from answermesh.agents.language.words import STOP_WORDS, listed, words


class Asked(enum.Enum):
    """The sort of thing."""

    WHO = "who"
    WHEN = "when"
    WHERE = "where"
    WHY = "why"
    HOW = "how"
    NUMBER = "number"
    # A thing of a named sort: "which language".
    SORT = "sort"
    WHAT = "what"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Asking:
    """What a question asks for, and the word that names it; empty where none does."""

    asked: Asked
    focus: str = ""


_PERSONS = frozenset(
    listed(
        """
        person president king queen leader author scientist man woman founder general pope emperor inventor actor player
        singer director professor monk name people group
        """
    )
)
_PLACES = frozenset(
    listed(
        """
        country city place state region town river location area continent nation island province site ocean street
        capital
        """
    )
)
_TIMES = frozenset(listed("year date century decade month day time period era age"))
_NUMBERS = frozenset(listed("number percent percentage amount population size"))
_MEASURED = frozenset(listed("many much long old far often large big tall high"))
# Words behind "what" that may name what is asked: "what other major city".
_REACH = 3


def asking(question: str) -> Asking:
    """What a question asks for, by its first asking word."""
    listed_words = [word.text for word in words(question)]
    for index, word in enumerate(listed_words):
        following = listed_words[index + 1 : index + 1 + _REACH]
        first = following[0] if following else ""
        if word in ("who", "whom", "whose"):
            return Asking(Asked.WHO)
        if word in ("when", "where", "why"):
            return Asking(Asked(word))
        if word == "how":
            if first in _MEASURED:
                return Asking(Asked.NUMBER, following[1] if len(following) > 1 else "")
            return Asking(Asked.HOW)
        if word in ("what", "which"):
            for other in following:
                for sort, named in (
                    (Asked.WHEN, _TIMES),
                    (Asked.NUMBER, _NUMBERS),
                    (Asked.WHO, _PERSONS),
                    (Asked.WHERE, _PLACES),
                ):
                    if other in named:
                        return Asking(sort, other)
            return Asking(Asked.SORT, first) if first and first not in STOP_WORDS else Asking(Asked.WHAT)
    return Asking(Asked.OTHER)
