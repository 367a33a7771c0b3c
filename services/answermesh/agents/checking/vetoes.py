"""What forbids to call a claim supported, whatever the models say: a number, a name or a quality that the source has
otherwise.

Models read "built in 1887" and "built in 1889", or "is green" and "is blue", as nearly the same, so these are compared
one by one. A number that the source has no other number for, or a name that it says "he" for, forbids nothing by
itself: that is weighed.
"""

from __future__ import annotations

from dataclasses import dataclass

from answermesh.agents.language.comparison import Relation, at_least, compare, substitutions
from answermesh.agents.language.facts import Part, Role, parts
from answermesh.agents.language.naming import Name, names
from answermesh.agents.language.words import STOP_WORDS, content_stems, coverage, words

# Share of a claim's other words from which a source speaks of the same thing, so that another name alters it.
MUCH = 0.7
_COPULAS = frozenset(["is", "are", "was", "were", "be", "been", "being"])


@dataclass(frozen=True, slots=True)
class Veto:
    """Why a claim cannot be called supported."""

    # In one sentence.
    reason: str
    # Whether the source states the contrary: another number does, another name may be another thing.
    refutes: bool = False


def veto(claim: str, source: str, context: str = "") -> Veto | None:
    """What in a number, a name, a negation or an opposite speaks against a source's supporting the claim.

    `context` is all that the sources at hand say: what they speak of nowhere, the source cannot mean.
    """
    comparison = compare(claim, source)
    if comparison.relation is Relation.ENTAILED:
        return None
    if comparison.relation is Relation.CONTRADICTED:
        return Veto(comparison.rationale, refutes=True)
    claim_parts, source_parts = parts(claim), parts(source)
    for mine, theirs in substitutions(claim, source):
        if _other_number(mine, theirs, claim_parts, source_parts):
            return Veto(_told(mine, theirs), refutes=True)
        if _other_name(mine, theirs):
            return Veto(_told(mine, theirs))
    if other := other_number(claim, source):
        return Veto(_told(*other), refutes=True)
    if qualities := other_quality(claim, source):
        return Veto(f"the source says {qualities[1]}, the sentence says {qualities[0]}")
    if (name := other_name(claim, source)) and _same_but_for(name, claim, source):
        return Veto(f"the source does not speak of {name.text}")
    if (name := _unspoken(claim, f"{source} {context}")) and _same_but_for(name, claim, source):
        return Veto(f"no source speaks of {name.text}")
    return None


def _told(mine: Part, theirs: Part) -> str:
    return f"the source says {theirs.text}, the sentence says {mine.text}"


def other_number(claim: str, source: str) -> tuple[Part, Part] | None:
    """A number that the source lacks, with one of the same unit that the claim lacks."""
    claim_parts, source_parts = parts(claim), parts(source)
    given = {part.identity: part for part in source_parts if part.role is Role.NUMBER}
    stated = {part.identity: part for part in claim_parts if part.role is Role.NUMBER}
    for identity, mine in stated.items():
        if identity in given:
            continue
        for other, theirs in given.items():
            if other not in stated and _other_number(mine, theirs, claim_parts, source_parts):
                return mine, theirs
    return None


def other_quality(claim: str, source: str) -> tuple[str, str] | None:
    """What the claim says a thing is, and what the source says it is, where they are the same but for that word.

    It may be a word for the same, which nothing here can tell from another quality.
    """
    mine, theirs = ([word.text.casefold() for word in words(text)] for text in (claim, source))
    if len(mine) != len(theirs):
        return None
    differing = [n for n, (one, other) in enumerate(zip(mine, theirs, strict=True)) if one != other]
    if len(differing) != 1 or not differing[0] or mine[differing[0] - 1] not in _COPULAS:
        return None
    pair = mine[differing[0]], theirs[differing[0]]
    return None if STOP_WORDS.intersection(pair) else pair


def other_name(claim: str, source: str) -> Name | None:
    """A name of which the source has no word, where it has another name that the claim has no word of.

    A name that opens the claim is let pass unless the source opens with another: it may say "he" for who is meant.
    """
    present = {word.stem for word in words(source)}
    stated = {word.stem for word in words(claim)}
    others = [name for name in _unmeasured(source) if stated.isdisjoint(name.stems)]
    if not others:
        return None
    opens = any(name.opens for name in others)
    absent = (name for name in _unmeasured(claim) if present.isdisjoint(name.stems))
    return next((name for name in absent if opens or not name.opens), None)


def _unspoken(claim: str, context: str) -> Name | None:
    """A name, not the claim's first words, of which no source has a word."""
    present = {word.stem for word in words(context)}
    return next((name for name in _unmeasured(claim) if not name.opens and present.isdisjoint(name.stems)), None)


def _same_but_for(name: Name, claim: str, source: str) -> bool:
    """Whether the source says much of what the claim says beside a name."""
    return coverage(content_stems(claim) - set(name.stems), content_stems(source)) >= MUCH


def _unmeasured(text: str) -> list[Name]:
    """The names of a text without its units, months and weekdays, which are compared as numbers."""
    measured = [part for part in parts(text) if part.role is Role.NUMBER]
    return [
        name
        for name in names(text)
        if not any(part.start <= name.start < part.start + len(part.text) for part in measured)
    ]


def _is_year(part: Part) -> bool:
    """Whether a number is written like a year, which no count is compared with."""
    return not part.unit and len(part.text) == 4 and part.text.isdigit() and "1000" <= part.text <= "2100"


def _other_number(mine: Part, theirs: Part, claim: list[Part], source: list[Part]) -> bool:
    """Whether two parts are numbers of the same measure of which only one can be right."""
    if not mine.role is theirs.role is Role.NUMBER or mine.unit != theirs.unit or mine.key == theirs.key:
        return False
    return _is_year(mine) == _is_year(theirs) and not at_least(mine, theirs, claim, source)


def _other_name(mine: Part, theirs: Part) -> bool:
    """Whether something else stands where the claim has a name; weekdays and months are names here.

    A capital at the front of a claim makes a name only beside one.
    """
    if mine.role is theirs.role is Role.NUMBER or not {mine.role, theirs.role} <= {Role.WORD, Role.NUMBER}:
        return False
    return mine.text[:1].isupper() and (mine.start > 0 or theirs.text[:1].isupper())
