"""Questions within a question, found by rule where the wording leaves no doubt."""

from __future__ import annotations

import re

MAX_SUBQUESTIONS = 4
# Shorter than this is no question of its own ("and why?").
_MIN_WORDS = 3

_BETWEEN = re.compile(
    r"\b(?:differences?|relation(?:ship)?s?|distinction|similarit(?:y|ies)|trade-?offs?)\s+(?:is\s+there\s+)?between\s+"
    r"(?P<one>[^?.]{2,80}?)\s+and\s+(?P<other>[^?.]{2,80}?)\s*(?:[?.]|$|\bin\b)",
    re.IGNORECASE,
)
_COMPARED = re.compile(
    r"\bhow\s+(?:does|do|is|are)\s+(?P<one>[^?.]{2,80}?)\s+(?:differ(?:s|ent)?\s+from|compared?\s+(?:to|with))\s+"
    r"(?P<other>[^?.]{2,80}?)\s*(?:[?.]|$)",
    re.IGNORECASE,
)
_ASKING = r"(?:what|which|who|whom|whose|when|where|why|how|is|are|does|do|did|can|should)"
_JOINED = re.compile(
    rf"\s*(?:[,;]\s*(?:and\s+)?|\s+and\s+(?:also\s+)?)(?={_ASKING}\b)|\?\s+(?:and\s+)?(?=\w)", re.IGNORECASE
)
_ASKS = re.compile(rf"^{_ASKING}\b", re.IGNORECASE)


def subquestions(question: str) -> list[str]:
    """The questions that a compound question is made of; empty for a simple one.

    "What is the difference between A and B?" needs both "What is A?" and "What is B?"; two questions joined are asked
    one by one. Nothing is guessed: a part that does not ask by itself leaves the question whole.
    """
    text = " ".join(question.split())
    if match := _BETWEEN.search(text) or _COMPARED.search(text):
        return [f"What is {match[name].strip()}?" for name in ("one", "other")]
    pieces = [piece.strip(" ,;?.") for piece in _JOINED.split(text)]
    pieces = [piece for piece in pieces if piece]
    if len(pieces) < 2 or not all(_ASKS.match(piece) and len(piece.split()) >= _MIN_WORDS for piece in pieces):
        return []
    return [f"{piece[0].upper()}{piece[1:]}?" for piece in pieces[:MAX_SUBQUESTIONS]]
