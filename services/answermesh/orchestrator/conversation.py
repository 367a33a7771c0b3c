"""A question that leans on the one before it, made to stand alone. Rules over the wording; no I/O.

After "When was the Eiffel Tower built?", "Who designed it?" becomes "Who designed Eiffel Tower?", and "What about the
Louvre?" becomes "When was the Louvre built?". A question that leans on nothing is left as it is.
"""

from __future__ import annotations

import re

from answermesh.knowledge.entities import extract

# A question of fewer words of its own that names nothing leans on the one before: "And why?"
_OWN_WORDS = 3
# A longer remainder of a question is no name of what it is about.
_TOPIC_WORDS = 6
MAX_QUESTION_CHARS = 4000

_POSSESSIVE = re.compile(r"\b(?:its|his|her|their)\b(?=\s+\w)", re.IGNORECASE)
_PRONOUN = re.compile(r"\b(?:it|they|them|he|him|she|(?:this|that|these|those)(?=\s*[?.,]|\s*$))\b", re.IGNORECASE)
_INSTEAD = re.compile(
    r"^\W*(?:and\s+)?(?:what|how)\s+about\s+(?P<other>[^?]+?)\s*\??\s*$|^\W*and\s+(?P<also>[^?]{2,60}?)\s*\?\s*$",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"^\W*(?:(?:in|on|at|by|to|for|from)\s+)?(?:what|who|whom|whose|which|where|when|why|how)?\s*"
    r"(?:is|are|was|were|does|do|did|can|could|has|have|had|should|will|would)?\s+(?:(?:the|a|an)\s+)?",
    re.IGNORECASE,
)
_ASKING = re.compile(r"^(?:what|who|whom|whose|which|where|when|why|how)\b", re.IGNORECASE)
_WORDS = re.compile(r"\w[\w'’-]*")


def resolved(question: str, before: str) -> str:
    """The question as it can be answered alone; `before` is the question before it, empty for none."""
    text = " ".join(question.split())
    topic = topic_of(before)
    if not before or len(text) + len(before) > MAX_QUESTION_CHARS:
        return question
    if (match := _INSTEAD.match(text)) and topic and not _ASKING.match(other := match["other"] or match["also"]):
        return _exchanged(before, topic, other)
    named = any(_PRONOUN.search(text, 0, mention.start) is None for mention in extract(text))
    if topic and not named and (_PRONOUN.search(text) or _POSSESSIVE.search(text)):
        possessive = f"{topic}'" if topic.endswith("s") else f"{topic}'s"
        return _PRONOUN.sub(lambda _: topic, _POSSESSIVE.sub(lambda _: possessive, text), count=1)
    if len(_WORDS.findall(text)) <= _OWN_WORDS and not extract(text):
        return f"{text.rstrip('?. ')}: {before}"
    return question


def topic_of(question: str) -> str:
    """What a question is about: the last thing that it names, or what is left without its asking words; or empty."""
    if mentions := extract(question):
        return mentions[-1].text
    rest = _OPENING.sub("", question).strip(" ?.!")
    return rest if 1 <= len(_WORDS.findall(rest)) <= _TOPIC_WORDS and rest != question.strip(" ?.!") else ""


def _exchanged(before: str, topic: str, other: str) -> str:
    """The question before, about something else."""
    place = before.rfind(topic)
    start, end = before[:place], before[place + len(topic) :]
    if re.match(r"(?:the|a|an)\s", other, re.IGNORECASE):
        start = re.sub(r"\b(?:the|a|an)\s+$", "", start, flags=re.IGNORECASE)
    return f"{start}{other}{end}"
