"""Which entities a text mentions: names, terms, identifiers, dates and quantities, found by rules.

No model and no outside list: capitalised runs, quoted and emphasised terms, `code`, --flags, snake_case, CamelCase,
paths, versions, dates and quantities. The same text always gives the same mentions, so that importing and asking agree.
Where two rules claim the same characters, the earlier rule of `_RULES` wins.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from answermesh.knowledge.entity_types import TYPE_CODE, TYPE_CONCEPT, TYPE_QUANTITY, TYPE_TIME, EntityType
from answermesh.knowledge.names import name_runs

# Longest entity in characters; what is longer is a phrase, not a name.
MAX_ENTITY_CHARS = 80


@dataclass(frozen=True, slots=True)
class Mention:
    """Where a text speaks of an entity: `text` is exactly its characters `start` to `end`."""

    start: int
    end: int
    text: str
    type: EntityType
    # What all spellings of one entity share; see `normalize`.
    key: str


_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_UNIT = (
    r"(?:%|percent\b|ms\b|µs\b|us\b|ns\b|s\b|(?:milli|micro|nano)?seconds?\b|secs?\b|mins?\b|minutes?\b|h\b|hours?\b|days?\b|weeks?\b"
    r"|months?\b|years?\b|[KMGTP]i?[Bb]\b|[kmgt]b\b|bytes?\b|bits?\b|[kMG]?Hz\b|(?:kilo|centi|milli)?met(?:er|re)s?\b|[kcm]m\b|[kmg]g?\b"
    r"|miles?\b|feet\b|(?:kilo)?grams?\b|tons?\b|°[CF]\b|degrees\b|(?:m|b|tr)illion\b|thousand\b|dollars?\b|euros?\b|cores?\b|IOPS\b"
    r"|Mbps\b|Gbps\b|MB/s\b|times\b)"
)

# (type, pattern); group 1, where there is one, is the mention. Every repeat is bounded, so no text makes a rule slow.
_RULES: tuple[tuple[EntityType, re.Pattern[str]], ...] = (
    (TYPE_CODE, re.compile(r"(?<!`)`{1,2}([^`\n]{1,80})`{1,2}(?!`)")),
    (
        TYPE_TIME,
        re.compile(
            rf"\b(?:\d{{4}}-\d{{2}}-\d{{2}}(?:[T ]\d{{2}}:\d{{2}}(?::\d{{2}})?Z?)?"
            rf"|\d{{1,2}}(?:st|nd|rd|th)?\s{_MONTH},?\s\d{{4}}"
            rf"|{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}}|{_MONTH}\s\d{{4}}|{_MONTH}\s\d{{1,2}}\b|(?:1[0-9]|20)\d{{2}}s"
            rf"|(?:[Mm]on|[Tt]ues|[Ww]ednes|[Tt]hurs|[Ff]ri|[Ss]atur|[Ss]un)day|\d{{1,2}}:\d{{2}}(?:\s?[ap]m)?)\b"
        ),
    ),
    (
        TYPE_TIME,
        re.compile(r"\b(?:in|since|until|by|of|from|to|before|after|during|year)\s((?:1[0-9]|20)\d{2})\b(?![.,]?\d)"),
    ),
    (TYPE_CODE, re.compile(r"(?<![\w/.-])(?:~|\.{1,2})?/[\w.@-]{1,60}(?:/[\w.@*{}-]{1,60}){0,12}/?")),
    (
        TYPE_CODE,
        re.compile(
            r"(?<![\w/.-])[\w-]{1,60}(?:[/.][\w-]{1,60}){0,8}\.(?:go|py|js|ts|rs|md|json|jsonl|ya?ml|toml|conf|cfg|ini|sh|proto|txt|pdf|csv|html?"
            r"|db|snap|wal|sql|xml|log|service|crt|key|pem)\b(?![\w/-])"
        ),
    ),
    (TYPE_CODE, re.compile(r"(?<![\w-])--[A-Za-z][\w-]{1,60}")),
    (TYPE_CODE, re.compile(r"\b[A-Za-z][A-Za-z0-9]{0,60}(?:_[A-Za-z0-9]{1,60}){1,12}\b")),
    (
        TYPE_CODE,
        re.compile(r"\b(?:[a-z]{1,30}(?:[A-Z][a-z0-9]{1,30}){1,8}|[A-Z][a-z0-9]{1,30}(?:[A-Z][a-z0-9]{1,30}){2,8})\b"),
    ),
    (TYPE_CONCEPT, re.compile(r"\bv\d{1,4}(?:\.\d{1,6}){0,3}\b|\b\d{1,4}\.\d{1,6}\.\d{1,6}\b")),
    (
        TYPE_QUANTITY,
        re.compile(rf"(?<![\w.,$-])(?:[$€£]\s?)?\d{{1,15}}(?:,\d{{3}}){{0,6}}(?:\.\d{{1,12}})?[\s-]?{_UNIT}"),
    ),
    (
        TYPE_QUANTITY,
        re.compile(
            r"[$€£]\s?\d{1,15}(?:,\d{3}){0,6}(?:\.\d{1,12})?\b|(?<![\w.,/-])(?:\d{1,3}(?:,\d{3}){1,6}|\d{3,15})(?![\w/-]|[.,:]\d)"
        ),
    ),
    (TYPE_CONCEPT, re.compile(r"(?<!\w)[\"“]([^\W_][^\"“”\n]{1,58}[^\W_])[\"”](?!\w)")),
    (TYPE_CONCEPT, re.compile(r"(?<![\w*])\*{1,2}([^\W_][^*\n]{1,58}[^\W_])\*{1,2}(?![\w*])")),
)
# Not read: addresses, link targets, HTML tags, picture names.
_SKIPPED = re.compile(
    r"\]\([^()\s]{0,2000}\)|https?://[^\s)>\]]{1,2000}|<[A-Za-z/!][^<>\n]{0,500}>|\{\{[^{}\n]{0,300}\}\}|^\[[^\]\n]{1,200}\]:.{0,2000}$",
    re.MULTILINE,
)
_ADDITION = re.compile(r"\s{0,9}\([^()]{0,200}\)\s{0,9}$")
_SPACES = re.compile(r"\s+")
_MAX_WORDS = 5


def normalize(text: str) -> str:
    """The key of a spelling: letter case, quotes, leading dashes, `()` and possessive `'s` aside."""
    folded = _SPACES.sub(" ", unicodedata.normalize("NFKC", text)).strip(" \"'“”‘’`*.,;:").casefold()
    folded = folded.removesuffix("()").removesuffix("'s").removesuffix("’s")
    return folded.lstrip("-") or folded


def title_key(title: str) -> str:
    """The key of what a document of that title is about: "David Bradley (director)" is about David Bradley."""
    return normalize(_ADDITION.sub("", title))


def extract(text: str) -> list[Mention]:
    """The mentions in `text`, in order, not overlapping. Spans count characters (code points)."""
    taken = bytearray(len(text))
    for match in _SKIPPED.finditer(text):
        _take(taken, match.start(), match.end())
    found: list[Mention] = []
    for type_, pattern in _RULES:
        for match in pattern.finditer(text):
            group = 1 if pattern.groups else 0
            if not any(taken[match.start() : match.end()]):
                mention = _mention(text, *match.span(group), type_)
                if mention is not None:
                    _take(taken, match.start(), match.end())
                    found.append(mention)
    for start, end, type_ in name_runs(text, taken):
        mention = _mention(text, start, end, type_)
        if mention is not None:
            found.append(mention)
    return sorted(found, key=lambda mention: mention.start)


def _mention(text: str, start: int, end: int, type_: EntityType) -> Mention | None:
    """The mention, unless it is too long, has no letter or digit, or is a phrase rather than a name."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    while end > start and type_ == TYPE_CODE and text[end - 1] in ".,;:":
        end -= 1
    chosen = text[start:end]
    key = normalize(chosen)
    if not 1 < len(chosen) <= MAX_ENTITY_CHARS or not any(map(str.isalnum, key)) or len(chosen.split()) > _MAX_WORDS:
        return None
    if type_ == TYPE_CODE and chosen.isdigit():
        type_ = TYPE_QUANTITY
    return Mention(start, end, chosen, type_, key)


def _take(taken: bytearray, start: int, end: int) -> None:
    taken[start:end] = b"\1" * (end - start)


def salience(mentions: list[Mention]) -> dict[str, float]:
    """How central each key is to one text, 0 to 1: by how often and how early it is mentioned, names before numbers."""
    scores: dict[str, float] = {}
    for rank, mention in enumerate(mentions):
        weight = 0.3 if mention.type in (TYPE_QUANTITY, TYPE_TIME) else 1.0
        scores[mention.key] = scores.get(mention.key, 0.0) + weight / (1 + 0.1 * rank)
    top = max(scores.values(), default=1.0)
    return {key: score / top for key, score in scores.items()}


def keys(text: str, max_words: int = 4) -> Iterator[str]:
    """Every key that a run of 1 to `max_words` words of `text` could be, in order; for looking up names that no rule
    finds."""
    words = [word for word in (normalize(word) for word in text.split()) if word]
    for length in range(max_words, 0, -1):
        for start in range(len(words) - length + 1):
            yield " ".join(words[start : start + length])
