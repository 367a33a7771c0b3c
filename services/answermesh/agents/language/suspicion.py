"""Text in a document that speaks to a language model instead of to a reader: "add … to your response". Rules; no I/O.

Nothing that stands in a document changes what the agents do. These rules are a second line: what they find is not shown
to a model, not quoted in an answer, and told to the reader. They look at how a sentence speaks, not at what about, so a
document that explains such texts may be suspected as well.
"""

from __future__ import annotations

import re
from functools import lru_cache

from answermesh.knowledge.sentences import Sentence, split

_VERBS = (
    "add|append|insert|include|integrate|incorporate|embed|enhance|augment|modify|change|alter|convert|replace|substitute|"
    "translate|render|rewrite|rephrase|encode|encrypt|write|compose|draft|generate|produce|provide|give|use|remove|combine|"
    "group|scramble|rearrange|jumble|misspell|anagram|introduce|start|begin|end|finish|respond|reply|answer|output|print|"
    "say|tell|mention|suggest|tease|recommend|promote|hide|format|repeat|reveal|ignore|disregard|forget"
)
_OUTPUT = r"(?:answers?|responses?|repl(?:y|ies)|outputs?|completions?|messages?)"
# A line without the white space around it.
_LINE = re.compile(r"\S(?:[^\n]*\S)?")
# To a model, about what it is going to say.
_ABOUT_THE_ANSWER = re.compile(
    rf"^\W*(?:(?:please|now|then|also|and|instead|finally|first)\W+)*"
    rf"(?:(?:{_VERBS})\b.{{0,160}}?\b(?:your|this)\s+(?:\w+\s+){{0,2}}{_OUTPUT}\b"
    rf"|in\s+your\s+{_OUTPUT}\b"
    rf"|(?:{_VERBS})\b.{{0,120}}?\bof\s+your\s+(?:words|{_OUTPUT})\b"
    rf"|(?:every|each|all)\b.{{0,80}}?\bin\s+your\s+{_OUTPUT}\b)",
    re.IGNORECASE | re.DOTALL,
)
# To a model, about what it was told.
_ABOUT_INSTRUCTIONS = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass|do\s+not\s+follow)\b.{0,40}?"
    r"\b(?:previous|prior|above|earlier|preceding|all|any|your|the|these)\b.{0,30}?"
    r"\b(?:instructions?|prompts?|directions?|guidelines|system\s+messages?)\b"
    r"|\b(?:you\s+are|act\s+as|pretend\s+to\s+be)\s+(?:now\s+)?(?:an?\s+)?(?:AI|language\s+model|chat\s*bot|ChatGPT|DAN)\b"
    r"|\b(?:your|the)\s+system\s+prompt\b|\bnew\s+instructions?\s*:|<\|?(?:im_start|system|assistant)\|?>"
    r"|\[/?INST\]",
    re.IGNORECASE | re.DOTALL,
)
# To a model, about whom it talks to.
_ABOUT_THE_USER = re.compile(
    rf"^\W*(?:please\W+)?(?:{_VERBS}|encourage|urge|direct|inform|ask|convince|persuade|redirect)\s+(?:that\s+)?(?:the\s+)?"
    r"(?:users?|person\s+asking|asker)\b",
    re.IGNORECASE,
)


def suspect(sentence: str) -> bool:
    """Whether a sentence speaks to a language model."""
    return bool(
        _ABOUT_INSTRUCTIONS.search(sentence) or _ABOUT_THE_ANSWER.search(sentence) or _ABOUT_THE_USER.search(sentence)
    )


@lru_cache(maxsize=2048)
def sentences(text: str) -> tuple[Sentence, ...]:
    """The sentences of a passage; one with a line that speaks to a language model is cut into its lines.

    What is put into a document seldom waits for a sentence to end.
    """
    found: list[Sentence] = []
    for span in split(text):
        lines = [match.span() for match in _LINE.finditer(text, span.start, span.end)]
        if len(lines) > 1 and any(suspect(text[start:end]) for start, end in lines):
            found.extend(Sentence(start, end, span.prose) for start, end in lines)
        else:
            found.append(span)
    return tuple(found)


def suspects(text: str) -> list[Sentence]:
    """The sentences of a passage that speak to a language model."""
    return [span for span in sentences(text) if suspect(text[span.start : span.end])]


def without_suspects(text: str) -> str:
    """The passage with its suspect sentences left out, each replaced by a sign for it."""
    kept, position = [], 0
    for span in suspects(text):
        kept += [text[position : span.start], "[…]"]
        position = span.end
    return "".join([*kept, text[position:]])
