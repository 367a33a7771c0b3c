"""Answers beside those that are right, as SQuAD scores them (Rajpurkar et al. 2016, 2018). Pure."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normal(text: str) -> list[str]:
    """The words of an answer: lower-cased, without punctuation and articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def exact_match(told: str, right: str) -> float:
    """1 where both are the same words."""
    return float(normal(told) == normal(right))


def token_f1(told: str, right: str) -> float:
    """The harmonic mean of the shares of words that both have; 1 where neither has any."""
    mine, theirs = normal(told), normal(right)
    if not mine or not theirs:
        return float(mine == theirs)
    both = sum((Counter(mine) & Counter(theirs)).values())
    return 2 * both / (len(mine) + len(theirs))


def token_recall(told: str, right: str) -> float:
    """The share of a right answer's words that stand in what was told: what whole sentences can be held to (Adlakha et
    al. 2024); 1 where the answer has none.
    """
    wanted = Counter(normal(right))
    return sum((Counter(normal(told)) & wanted).values()) / wanted.total() if wanted else 1.0


def contains(told: str, right: Sequence[str]) -> float:
    """1 where one of the right answers stands in the text, word for word; with none, where the text is empty."""
    text = f" {' '.join(normal(told))} "
    wanted = [" ".join(normal(one)) for one in right]
    return float(any(one and f" {one} " in text for one in wanted)) if wanted else float(not text.strip())
