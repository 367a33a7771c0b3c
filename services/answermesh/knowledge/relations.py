"""Which entities a text joins: those that stand in one sentence, with the verb between them where there is one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from answermesh.knowledge.entities import Mention
from answermesh.knowledge.entity_types import TYPE_QUANTITY, TYPE_TIME
from answermesh.knowledge.sentences import split

# A sentence with more entities than this is a list, which joins nothing in particular; the first ones are taken.
_MAX_ENTITIES = 6
# Numbers and dates stand beside everything; joining by them would join all.
_NOT_JOINED = (TYPE_QUANTITY, TYPE_TIME)
# Between two entities: perhaps an auxiliary, a verb (by its form), perhaps a preposition, perhaps an article; nothing
# else.
_AUXILIARY = (
    r"(?:is|are|was|were|be|has|have|had|can|could|may|might|must|should|will|would|does|do|did"
    r"|not|also|then|always|never)"
)
_PREPOSITION = r"(?:to|from|by|with|in|on|for|of|into|as|at|over|through|via|against|upon|about)"
_BETWEEN = re.compile(
    rf"[\s`\"*)]+(?P<predicate>(?:{_AUXILIARY}\s+){{0,3}}(?:[a-z]{{2,20}}(?:s|ed|en|ing|es)|{_AUXILIARY})(?:\s+{_PREPOSITION}){{0,2}})"
    r"[\s`\"*(]+(?:(?:the|a|an|its|their|each|every)[\s`\"*(]+)?"
)
_NO_VERBS = frozenset(
    ["this", "its", "as", "has-been", "always", "unless", "members", "nodes", "clients", "servers", "keys", "values"]
)


@dataclass(frozen=True, slots=True)
class Relation:
    """Two entities, by key, in one sentence of a text; `predicate` is as written between them, or empty."""

    subject: str
    object: str
    predicate: str
    # The sentence.
    start: int
    end: int


def relate(text: str, mentions: Sequence[Mention]) -> Iterator[Relation]:
    """The relations of a text, in order, each pair once: with a predicate where any sentence gives one."""
    found: dict[tuple[str, str], Relation] = {}
    named = [mention for mention in mentions if mention.type not in _NOT_JOINED]
    position = 0
    for sentence in split(text):
        within: dict[str, Mention] = {}
        while position < len(named) and named[position].start < sentence.end:
            within.setdefault(named[position].key, named[position])
            position += 1
        for first, second in combinations(list(within.values())[:_MAX_ENTITIES], 2):
            relation = Relation(first.key, second.key, _predicate(text, first, second), sentence.start, sentence.end)
            pair = (min(first.key, second.key), max(first.key, second.key))
            known = found.get(pair)
            if known is None or (relation.predicate and not known.predicate):
                found[pair] = relation
    yield from found.values()


def _predicate(text: str, first: Mention, second: Mention) -> str:
    match = _BETWEEN.fullmatch(text, first.end, second.start) if second.start - first.end <= 80 else None
    predicate = " ".join(match["predicate"].split()) if match else ""
    return "" if predicate in _NO_VERBS else predicate
